//! `bench attack`: a stranger at the ports of a call behind NAT, from where, when and with what, through Portolan and through
//! rtpengine in its usual settings; and how long a call is dumb after its NAT has moved it.
//!
//! All calls of the play are up at the same time, one for each cell of the matrix. The terminal announces a private address,
//! as phones behind NAT do. The attacker knows all ports, as one who sprays a whole range finds them; he hears nothing.

mod scene;

use super::options::AttackOptions;
use super::place::Site;
use super::process::program;
use super::relays::Kind;
use scene::{Scene, Tally};
use serde::Serialize;
use std::collections::BTreeMap;
use tempfile::tempdir;

/// Where the attacker's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Any other host.
    Elsewhere,
    /// The same public address, as a neighbour behind the NAT.
    SameAddress,
}

/// When he begins; he never stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    BeforeMedia,
    WithMedia,
    AfterLearning,
}

/// One call and its attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    from: From,
    begins: Begins,
    rtcp: bool,
}

impl Cell {
    fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for from in [From::Elsewhere, From::SameAddress] {
            for begins in [Begins::BeforeMedia, Begins::WithMedia, Begins::AfterLearning] {
                cells.extend([false, true].map(|rtcp| Self { from, begins, rtcp }));
            }
        }
        cells
    }

    fn name(self) -> String {
        let from = match self.from {
            From::Elsewhere => "elsewhere",
            From::SameAddress => "same address",
        };
        let begins = match self.begins {
            Begins::BeforeMedia => "before media",
            Begins::WithMedia => "with media",
            Begins::AfterLearning => "after learning",
        };
        format!("{from}, {begins}, {}", if self.rtcp { "RTCP" } else { "RTP" })
    }
}

/// What came of a relay.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    cells: BTreeMap<String, Tally>,
    /// Of the attacker from elsewhere alone: he is off the path.
    off_path: Tally,
    /// From the first packet of the moved terminal until it hears the other end; `null`: never within the play.
    rebound_ms: Option<u64>,
}

pub(super) fn run(options: &AttackOptions) -> anyhow::Result<bool> {
    let site = Site::new(&options.place)?;
    let mut outcomes = BTreeMap::new();
    for kind in present() {
        let outcome = play(kind, &site)?;
        tell(kind, &outcome);
        outcomes.insert(kind.name(), outcome);
    }
    if options.place.json {
        println!("{}", serde_json::to_string(&outcomes)?);
    }
    Ok(is_good(&outcomes[Kind::Portolan.name()]))
}

/// rtpengine is left out where it is not installed.
fn present() -> Vec<Kind> {
    let mut kinds = vec![Kind::Portolan];
    match program("rtpengine") {
        Ok(_) => kinds.extend([Kind::Rtpengine, Kind::RtpengineStrict]),
        Err(error) => eprintln!("# left out: {error:#}"),
    }
    kinds
}

/// Nobody off the path got, gave or stopped anything, and audio is back in time.
fn is_good(outcome: &Outcome) -> bool {
    outcome.off_path == Tally::default() && outcome.rebound_ms.is_some_and(|ms| ms <= 700)
}

fn play(kind: Kind, site: &Site) -> anyhow::Result<Outcome> {
    let home = tempdir()?;
    let mut relay = kind.start(site, home.path())?;
    let cells = Cell::all();
    let mut scene = Scene::new(site, &cells)?;
    let told = relay.set_up(&scene.descriptions())?;
    scene.play(&told)?;
    relay.tear_down()?;
    let tallies = cells.iter().zip(scene.tallies());
    let off_path = tallies.clone().filter(|(cell, _)| cell.from == From::Elsewhere);
    Ok(Outcome {
        off_path: off_path.fold(Tally::default(), |sum, (_, tally)| sum.plus(tally)),
        cells: tallies.map(|(cell, tally)| (cell.name(), tally)).collect(),
        rebound_ms: scene.rebound().map(|time| time.as_millis() as u64),
    })
}

fn tell(kind: Kind, outcome: &Outcome) {
    println!("{:44}    bled  injected  unheard", kind.name());
    let sum = ("all from elsewhere".to_owned(), outcome.off_path);
    for (name, tally) in outcome.cells.clone().into_iter().chain([sum]) {
        println!("  {name:42}  {:6}  {:8}  {:7}", tally.bled, tally.injected, tally.unheard);
    }
    let rebound = outcome.rebound_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
    println!("  heard again after the NAT moved the call    {rebound}");
}
