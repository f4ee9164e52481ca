//! Scenarios in RON: which kinds of calls there are, in which proportion, and how terminals register.

use crate::plan::Direction;
use portolan_shards::sim::{Abandon, Script};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// A call that is to be cancelled must not be answered before.
const RINGS_LONG: Duration = Duration::from_secs(20);
/// Most branches of a fork.
const BRANCHES: u8 = 4;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// How terminals register.
    #[serde(default)]
    pub register: Register,
    /// What calls there are; not empty, with a sum of weights above 0.
    pub mix: Vec<Entry>,
}

/// How terminals register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Register {
    /// The lifetime that they ask for, in seconds.
    pub expires_s: u32,
    /// Do they refresh at half of what they get?
    pub refresh: bool,
}

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its share of all calls, in proportion.
    pub weight: u32,
    /// What happens in it.
    #[serde(default)]
    pub kind: Script,
    /// From INVITE to the final answer, in milliseconds; default: the plan's.
    #[serde(default)]
    pub ring_ms: Option<u32>,
    /// How long each end sends audio, in milliseconds; default: the plan's.
    #[serde(default)]
    pub talk_ms: Option<u32>,
}

/// What is wrong with a scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// It is no RON of this form.
    #[error("{file}:{line}:{column}: {what}")]
    Syntax {
        /// Which file.
        file: String,
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// A value makes no sense.
    #[error("{0}: {1}")]
    Value(String, String),
}

impl Default for Register {
    fn default() -> Self {
        Self { expires_s: 3600, refresh: true }
    }
}

impl Default for Scenario {
    /// Plain calls only.
    fn default() -> Self {
        let entry = Entry { weight: 1, kind: Script::Plain, ring_ms: None, talk_ms: None };
        Self { name: "calls".into(), register: Register::default(), mix: vec![entry] }
    }
}

impl Scenario {
    /// Read a file.
    ///
    /// # Errors
    /// [`ScenarioError`], with the place in the file where there is one.
    pub fn load(file: &Path) -> Result<Self, ScenarioError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| ScenarioError::File(name.clone(), error))?;
        Self::parse(&text, &name)
    }

    /// Read a text; `file` is what errors call it.
    ///
    /// # Errors
    /// Those of [`Scenario::load`].
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let options =
            ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let scenario: Self = options.from_str(text).map_err(|error| ScenarioError::Syntax {
            file: file.to_owned(),
            line: error.span.start.line,
            column: error.span.start.col,
            what: error.code.to_string(),
        })?;
        match scenario.mistake() {
            Some(what) => Err(ScenarioError::Value(file.to_owned(), what)),
            None => Ok(scenario),
        }
    }

    /// The entry that call number `index` is of: dealt in proportion, each kind spread over the whole run.
    pub fn entry(&self, index: u32) -> Entry {
        let total: u64 = self.mix.iter().map(|entry| u64::from(entry.weight)).sum::<u64>().max(1);
        let mut at = u64::from(index) * stride(total) % total;
        for entry in &self.mix {
            let weight = u64::from(entry.weight);
            if at < weight {
                return *entry;
            }
            at -= weight;
        }
        Self::default().mix[0]
    }

    /// Are there calls that take a minute to be over?
    pub fn abandons(&self) -> bool {
        self.mix.iter().any(|entry| entry.weight > 0 && matches!(entry.kind, Script::Abandon(_)))
    }

    /// Are there calls of which a proxy keeps something for a while after they are over?
    pub fn lingers(&self) -> bool {
        self.abandons()
            || self.mix.iter().any(|entry| entry.weight > 0 && matches!(entry.kind, Script::Forks(_)))
    }

    /// The longest talk, if an entry has its own.
    pub fn longest_talk(&self) -> Duration {
        let longest = self.mix.iter().filter_map(|entry| entry.talk_ms).max();
        Duration::from_millis(longest.unwrap_or_default().into())
    }

    fn mistake(&self) -> Option<String> {
        if self.mix.iter().all(|entry| entry.weight == 0) {
            return Some("mix: no entry has a weight above 0".into());
        }
        if self.register.expires_s < 10 {
            return Some("register.expires_s: at least 10".into());
        }
        let mut entries = self.mix.iter().enumerate();
        entries.find_map(|(index, entry)| entry.mistake().map(|what| format!("mix[{index}]: {what}")))
    }
}

impl Entry {
    fn mistake(&self) -> Option<String> {
        match (self.kind, self.talk_ms) {
            (Script::Forks(branches), _) if !(2..=BRANCHES).contains(&branches) => {
                Some(format!("Forks({branches}): 2 to {BRANCHES} branches"))
            }
            (Script::Hold, Some(0..2000)) => Some("Hold needs talk_ms of at least 2000".into()),
            (_, Some(0..200)) => Some("talk_ms: at least 200".into()),
            _ => None,
        }
    }

    /// From INVITE to the final answer.
    pub(crate) fn ring(&self) -> Option<Duration> {
        let own = self.ring_ms.map(|ms| Duration::from_millis(ms.into()));
        if self.kind == Script::Cancel { Some(RINGS_LONG) } else { own }
    }

    pub(crate) fn talk(&self) -> Option<Duration> {
        self.talk_ms.map(|ms| Duration::from_millis(ms.into()))
    }

    /// Where such a call goes, when the mix of directions wants `direction`. Only the trunk forks.
    pub(crate) fn direction(&self, direction: Direction) -> Direction {
        if matches!(self.kind, Script::Forks(_)) { Direction::ToTrunk } else { direction }
    }
}

/// A key for the report.
pub const fn label(script: Script) -> &'static str {
    match script {
        Script::Plain => "call",
        Script::Early => "early_media",
        Script::Forks(_) => "forks",
        Script::Hold => "hold",
        Script::Reinvite => "reinvite",
        Script::Refer => "refer",
        Script::Abandon(Abandon::BeforeRinging) => "abandon_before_ringing",
        Script::Abandon(Abandon::Ringing) => "abandon_ringing",
        Script::Abandon(Abandon::NoAck) => "abandon_no_ack",
        Script::Abandon(Abandon::NoBye) => "abandon_no_bye",
        Script::Cancel => "cancel",
        Script::Busy => "busy",
    }
}

/// The failure that is wanted, where one is.
pub(crate) const fn refusal(script: Script) -> Option<u16> {
    match script {
        Script::Cancel => Some(487),
        Script::Busy => Some(486),
        _ => None,
    }
}

/// A step that has no divisor in common with `total`, near the golden section.
fn stride(total: u64) -> u64 {
    let near = (total * 382 / 1000).max(1);
    (near..).find(|&step| gcd(step, total) == 1).unwrap_or(1)
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scenarios_are_sound() {
        for (name, text) in [
            ("mixed", include_str!("../../scenarios/mixed.ron")),
            ("prompt", include_str!("../../scenarios/prompt.ron")),
        ] {
            let scenario = Scenario::parse(text, name).expect(name);
            assert_eq!(scenario.name, name);
            let dealt = |kind| (0..100).filter(|&index| scenario.entry(index).kind == kind).count();
            assert!(dealt(Script::Plain) > 40 && dealt(Script::Busy) >= 6, "{name}");
            assert_eq!(scenario.abandons(), name == "mixed");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let told = |text: &str| Scenario::parse(text, "x.ron").expect_err(text).to_string();
        let unknown = told("(\n  name: \"a\",\n  mix: [(weight: 1, colour: 2)],\n)");
        assert!(unknown.starts_with("x.ron:3:") && unknown.contains("colour"), "{unknown}");
        let kind = told("(name: \"a\", mix: [(weight: 1, kind: Shout)])");
        assert!(kind.starts_with("x.ron:1:") && kind.contains("Shout"), "{kind}");
        assert!(told("(name: \"a\", mix: [])").contains("weight"));
        assert!(told("(name: \"a\", mix: [(weight: 1, kind: Forks(9))])").contains("mix[0]: Forks(9)"));
    }

    #[test]
    fn kinds_are_dealt_in_proportion() {
        let text = "(name: \"a\", mix: [(weight: 3), (weight: 1, kind: Busy, ring_ms: 50)])";
        let scenario = Scenario::parse(text, "x").expect("sound");
        let busy = (0..400).filter(|&index| scenario.entry(index).kind == Script::Busy).count();
        assert_eq!(busy, 100);
    }
}
