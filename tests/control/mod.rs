//! A control thread's view of shards that only remember what they were told.

use portolan::control::{Control, Shards};
use portolan::mapping::Loaded;
use portolan::runtime::{ControlError, ShardSessions, ShardSnapshot};
use portolan::tls::Contexts;
use portolan_shards::realm::Mapping;
use portolan_shards::session::account::Summary;
use portolan_shards::stats::Stats;
use portolan_shards::table::Key;
use portolan_shards::types::{Instant, RealmId, ShardId};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Two shards with known figures.
#[derive(Clone, Default)]
pub(crate) struct Recorder(
    pub(crate) Arc<Mutex<Vec<Arc<Mapping>>>>,
    pub(crate) Arc<Mutex<Vec<Arc<Contexts>>>>,
);

impl Shards for Recorder {
    fn figures(&self) -> Vec<Arc<ShardSnapshot>> {
        let shard = |number: u16| {
            let stats = Stats { sessions: 3, rtp_packets: 1000 + u64::from(number), ..Stats::default() };
            let cpu = Duration::from_millis(1500);
            Arc::new(ShardSnapshot { shard: ShardId(number), stats, cpu, ..ShardSnapshot::default() })
        };
        vec![shard(0), shard(1)]
    }

    fn sessions(&self, most: usize) -> Vec<ShardSessions> {
        vec![ShardSessions { shard: ShardId(1), now: Instant::ZERO, running: Vec::new(), ended: ended(most) }]
    }

    fn reload(&self, mapping: &Arc<Mapping>) -> Result<(), ControlError> {
        self.0.lock().expect("no test panics in here").push(Arc::clone(mapping));
        Ok(())
    }

    fn renew(&self, tls: Arc<Contexts>) {
        self.1.lock().expect("no test panics in here").push(tls);
    }
}

/// A control whose shards are started, and what they were told.
pub(crate) fn started(loaded: Loaded) -> (Arc<Control>, Recorder) {
    let recorder = Recorder::default();
    let control = Arc::new(Control::new(loaded));
    control.started(Arc::new(recorder.clone()));
    (control, recorder)
}

/// So many ended sessions without streams.
fn ended(most: usize) -> Vec<Summary> {
    let session = |slot| Summary {
        key: Key { slot, generation: 7 },
        opened: Instant::ZERO,
        ended: Some(Instant::ZERO),
        realms: [RealmId(0), RealmId(1)],
        one_way: None,
        streams: Vec::new(),
    };
    (0..most as u32).map(session).collect()
}
