//! What about the machine would keep Portolan from running, or from running fast: each finding with its reason and the
//! command that mends it.
//!
//! Everything is read below a root directory and through [`Host`], so that tests lay out a machine of their own.

mod cards;
mod host;
mod kernel;
mod network;
mod processors;

pub use host::Host;

use crate::mapping::{self, Loaded};
use crate::steering::Steering;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It runs, but slower or with less room.
    Warn,
    /// It does not run, or not as configured.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a short, stable name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was seen, and what that means.
    pub why: String,
    /// The command, or the change of the configuration, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, why: why.into(), mend: None }
    }

    fn warn(name: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Warn, why: why.into(), mend: Some(mend.into()) }
    }

    fn fail(name: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::warn(name, why, mend) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        write!(f, "{state}  {:<18} {}", self.name, self.why)?;
        self.mend.as_ref().map_or(Ok(()), |mend| write!(f, "\n{:24} {mend}", "->"))
    }
}

/// All findings about a host, for this configuration or for none.
pub fn examine(host: &Host, loaded: Option<&Loaded>) -> Vec<Finding> {
    let mut findings = kernel::findings(host, loaded);
    findings.extend(network::findings(host, loaded));
    findings.extend(processors::findings(host, loaded));
    if let Some(steering) = loaded.map(Steering::of) {
        findings.extend(cards::findings(host, &steering));
    }
    findings
}

/// The `doctor` verb: print the findings, as one JSON object or for people. Fails when one of them does.
pub fn run(file: Option<&Path>, json: bool) -> ExitCode {
    let loaded = file.map(mapping::load).transpose();
    let mut findings = examine(&Host::here(), loaded.as_ref().ok().and_then(Option::as_ref));
    if let (Err(errors), Some(file)) = (&loaded, file) {
        eprintln!("{errors}");
        let mend = format!("portolan check -f {}", file.display());
        findings.push(Finding::fail("configuration", "it is not sound, and was not looked at", mend));
    }
    print!("{}", if json { object(&findings) } else { lines(&findings) });
    ExitCode::from(u8::from(count(&findings, State::Fail) > 0))
}

fn count(findings: &[Finding], state: State) -> usize {
    findings.iter().filter(|finding| finding.state == state).count()
}

fn lines(findings: &[Finding]) -> String {
    let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let [ok, warn, fail] = [State::Ok, State::Warn, State::Fail].map(|state| count(findings, state));
    format!("{lines}{ok} ok, {warn} to look at, {fail} failed\n")
}

fn object(findings: &[Finding]) -> String {
    let [ok, warn, fail] = [State::Ok, State::Warn, State::Fail].map(|state| count(findings, state));
    let object = serde_json::json!({ "findings": findings, "ok": ok, "warn": warn, "fail": fail });
    format!("{object}\n")
}
