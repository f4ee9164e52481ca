//! Admission by bandwidth: how much media the descriptions of a shard's sessions may ask for together.

use super::stream::Stream;
use super::{Refusal, View};

/// What was granted, in octets of UDP payload per second and direction.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The most that may be granted; 0: no limit.
    pub(super) most: u64,
    granted: u64,
}

impl Admission {
    /// May a stream ask for what this view says? `stream` is `None` while it is not there yet.
    ///
    /// # Errors
    /// [`Refusal::NoBandwidth`].
    pub(super) fn check(&self, stream: Option<&Stream>, view: &View) -> Result<(), Refusal> {
        let more = more(stream.map_or(0, |stream| stream.granted), view);
        let fits = self.most == 0 || more == 0 || self.granted + more <= self.most;
        if fits { Ok(()) } else { Err(Refusal::NoBandwidth) }
    }

    /// It may: what it was granted stays its own until it ends.
    pub(super) fn grant(&mut self, stream: &mut Stream, view: &View) {
        let more = more(stream.granted, view);
        stream.granted += more;
        self.granted += more;
    }

    /// A stream has ended.
    pub(super) fn release(&mut self, stream: &Stream) {
        self.granted -= stream.granted;
    }

    /// What is granted now.
    pub(super) const fn granted(&self) -> u64 {
        self.granted
    }
}

fn more(granted: u64, view: &View) -> u64 {
    u64::from(view.rate.octets_per_s).saturating_sub(granted)
}
