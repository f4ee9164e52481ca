//! `bench peers`: Portolan and its peers under the same load, in turn, in the same minutes.

use super::figures::{median, rounded};
use super::media::{self, Shape, sockets};
use super::options::PeersOptions;
use super::place::Site;
use super::{relays, signaling, systems};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::time::Duration;

/// A round in which the generator was the limit is repeated, so often in all.
const REPEATS: u32 = 10;

/// What is printed at the end, as one line.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    rounds: u32,
    media: MediaOutcome,
    signaling: SignalingOutcome,
    invalid_rounds: u32,
    /// Portolan's `limits.batch_us`; `null`: as it comes.
    batch_us: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
struct MediaOutcome {
    portolan: MediaFigures,
    rtpengine: MediaFigures,
    cpu_ratio: f64,
    calls: u32,
    packets_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct MediaFigures {
    cpu_us_per_packet: f64,
    p99_us: f64,
    bytes_per_call: u64,
    p50_us: f64,
    loss: f64,
    kernel_bytes_per_call: u64,
}

#[derive(Clone, Debug, Serialize)]
struct SignalingOutcome {
    portolan: SignalingFigures,
    kamailio_rtpengine: SignalingFigures,
    cpu_ratio: f64,
    calls_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct SignalingFigures {
    cpu_us_per_call: f64,
    setup_p99_us: f64,
}

/// The measured turns of two rivals; turn n of one belongs to turn n of the other.
struct Turns<F> {
    ours: Vec<F>,
    theirs: Vec<F>,
    invalid: u32,
}

pub(super) fn run(options: &PeersOptions) -> anyhow::Result<bool> {
    let site = Site::new(&options.place)?;
    let length = Duration::from_secs(options.seconds.into());
    let shape = Shape { calls: options.load.calls, packets_per_s: options.load.rate, length };
    let media = media_turns(&site, options.rounds, shape)?;
    let signaling = signaling_turns(&site, options.rounds, options.call_rate, length)?;
    let outcome = Outcome {
        rounds: options.rounds,
        invalid_rounds: media.invalid + signaling.invalid,
        media: judge_media(&media, shape),
        signaling: judge_signaling(&signaling, options.call_rate),
        batch_us: options.place.batch_us,
    };
    tell(&outcome);
    if options.place.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(true)
}

/// Both have their turn in each round, and take turns in being first. `turn` gives the figures and why they do not count.
fn rounds<F>(
    rounds: u32,
    mut turn: impl FnMut(bool) -> anyhow::Result<(F, Option<String>)>,
) -> anyhow::Result<Turns<F>> {
    let mut turns = Turns { ours: Vec::new(), theirs: Vec::new(), invalid: 0 };
    let mut why = None;
    while turns.ours.len() < rounds as usize && turns.invalid <= REPEATS {
        let first_is_ours = turns.ours.len().is_multiple_of(2);
        let (first, first_limited) = turn(first_is_ours)?;
        let (second, second_limited) = turn(!first_is_ours)?;
        why = first_limited.or(second_limited);
        if why.is_some() {
            turns.invalid += 1;
            continue;
        }
        let (ours, theirs) = if first_is_ours { (first, second) } else { (second, first) };
        turns.ours.push(ours);
        turns.theirs.push(theirs);
    }
    let count = turns.ours.len();
    ensure!(count == rounds as usize, "{count} of {rounds} rounds are valid: {}", why.unwrap_or_default());
    Ok(turns)
}

fn media_turns(site: &Site, count: u32, shape: Shape) -> anyhow::Result<Turns<media::Figures>> {
    let mut ends = sockets(site, shape.calls)?;
    rounds(count, |ours| {
        let kind = if ours { relays::Kind::Portolan } else { relays::Kind::Rtpengine };
        let figures = media::turn(kind, site, &mut ends, shape).with_context(|| format!("{kind:?}"))?;
        eprintln!("media      {:18} {}", format!("{kind:?}"), figures.line());
        let limited = figures.limited.clone();
        Ok((figures, limited))
    })
}

fn signaling_turns(
    site: &Site,
    count: u32,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Turns<signaling::Figures>> {
    rounds(count, |ours| {
        let kind = if ours { systems::Kind::Portolan } else { systems::Kind::KamailioRtpengine };
        let figures = signaling::turn(kind, site, rate, length).with_context(|| format!("{kind:?}"))?;
        eprintln!("signaling  {:18} {}", format!("{kind:?}"), figures.line());
        let limited = figures.limited.clone();
        Ok((figures, limited))
    })
}

fn judge_media(turns: &Turns<media::Figures>, shape: Shape) -> MediaOutcome {
    let of = |figures: &[media::Figures]| {
        let middle = |of: fn(&media::Figures) -> f64| median(figures.iter().map(of));
        MediaFigures {
            cpu_us_per_packet: rounded(middle(|f| f.cpu_us_per_packet), 3),
            p99_us: rounded(middle(|f| f.p99_us), 1),
            bytes_per_call: middle(|f| f.bytes_per_call) as u64,
            p50_us: rounded(middle(|f| f.p50_us), 1),
            loss: rounded(middle(|f| f.loss), 7),
            kernel_bytes_per_call: middle(|f| f.kernel_bytes_per_call) as u64,
        }
    };
    let ratio = |(ours, theirs): (&media::Figures, &media::Figures)| {
        ours.cpu_us_per_packet / theirs.cpu_us_per_packet
    };
    MediaOutcome {
        portolan: of(&turns.ours),
        rtpengine: of(&turns.theirs),
        cpu_ratio: rounded(median(turns.ours.iter().zip(&turns.theirs).map(ratio)), 3),
        calls: shape.calls,
        packets_per_s: shape.packets_per_s,
    }
}

fn judge_signaling(turns: &Turns<signaling::Figures>, rate: f64) -> SignalingOutcome {
    let of = |figures: &[signaling::Figures]| SignalingFigures {
        cpu_us_per_call: rounded(median(figures.iter().map(|f| f.cpu_us_per_call)), 1),
        setup_p99_us: rounded(median(figures.iter().map(|f| f.setup_p99_us)), 1),
    };
    let ratio = |(ours, theirs): (&signaling::Figures, &signaling::Figures)| {
        ours.cpu_us_per_call / theirs.cpu_us_per_call
    };
    SignalingOutcome {
        portolan: of(&turns.ours),
        kamailio_rtpengine: of(&turns.theirs),
        cpu_ratio: rounded(median(turns.ours.iter().zip(&turns.theirs).map(ratio)), 3),
        calls_per_s: rate,
    }
}

/// The goals, each with what came of it.
fn tell(outcome: &Outcome) {
    let (media, signaling) = (&outcome.media, &outcome.signaling);
    let own = media.portolan.bytes_per_call as f64;
    let goals = [
        ("media: CPU beside rtpengine", media.cpu_ratio, 0.72),
        ("media: p99 of the added delay in us", media.portolan.p99_us, media.rtpengine.p99_us.min(1_000.0)),
        ("media: own octets a call", own, 8_192.0),
        ("signaling: CPU beside Kamailio and rtpengine", signaling.cpu_ratio, 0.5),
    ];
    for (name, value, goal) in goals {
        let met = if value <= goal { "met" } else { "MISSED" };
        eprintln!("{name:46} {value:10.3}  goal {goal:8.2}  {met}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_round_is_repeated_and_the_order_alternates() {
        let mut order = Vec::new();
        let turns = rounds(3, |ours| {
            order.push(ours);
            let limited = (order.len() == 2).then(|| "late".to_owned());
            Ok((order.len(), limited))
        })
        .expect("rounds");
        assert_eq!(turns.invalid, 1);
        assert_eq!(order, [true, false, true, false, false, true, true, false]);
        assert_eq!((turns.ours, turns.theirs), (vec![3, 6, 7], vec![4, 5, 8]));
    }

    #[test]
    fn rounds_that_are_never_valid_are_an_error() {
        assert!(rounds(1, |_| Ok(((), Some("late".into())))).is_err());
    }
}
