//! What a telephone dials: all that its call's other end must know, in digits. Both protocols carry `0` to `9` and `A` to
//! `D`, and nothing else.

use super::super::endpoint::Role;
use super::super::spec::{CallSpec, Script};
use std::time::Duration;

/// Stands between two numbers.
const STAR: char = 'A';
/// Kinds of calls that gateways know; the others are plain ones to them.
pub(in super::super) const SCRIPTS: [Script; 4] = [Script::Plain, Script::Hold, Script::Cancel, Script::Busy];

/// The digits for this call. A callee that begins with `+` is the trunk's.
pub(super) fn digits(spec: &CallSpec) -> String {
    let script = SCRIPTS.iter().position(|script| *script == spec.script).unwrap_or_default();
    let millis = |time: Option<Duration>| time.map_or(0, |time| time.as_millis() as u64 + 1);
    let numbers = [
        u64::from(spec.call),
        callee(&spec.to).map_or(0, |number| u64::from(number) + 1),
        millis(spec.talk),
        millis(Some(spec.linger)),
        u64::from(spec.hangup == Role::Callee),
        u64::from(spec.rtp),
        millis(spec.answer_after),
        script as u64,
    ];
    numbers.map(|number| number.to_string()).join(&STAR.to_string())
}

/// The call that somebody dials; `None` when these are no digits of ours.
pub(super) fn call(digits: &str) -> Option<CallSpec> {
    let numbers: Vec<u64> = digits.split(STAR).map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[call, to, talk, linger, by, rtp, answer, script] = &numbers[..] else { return None };
    let time = |number: u64| number.checked_sub(1).map(Duration::from_millis);
    let to = to.checked_sub(1).map_or_else(|| "+".to_owned(), |number| number.to_string());
    Some(CallSpec {
        talk: time(talk),
        linger: time(linger)?,
        hangup: if by == 1 { Role::Callee } else { Role::Caller },
        rtp: rtp == 1,
        answer_after: time(answer),
        script: *SCRIPTS.get(script as usize)?,
        ..CallSpec::new(u32::try_from(call).ok()?, to, Duration::ZERO)
    })
}

/// The number of a gateway that is called, from the name of its user (`t00012`); `None`: the trunk.
pub(super) fn callee(user: &str) -> Option<u32> {
    if user.starts_with('+') {
        return None;
    }
    user.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dialled_is_understood() {
        let spec = CallSpec {
            talk: None,
            hangup: Role::Callee,
            script: Script::Hold,
            answer_after: Some(Duration::from_millis(70)),
            ..CallSpec::new(7, "t00012", Duration::ZERO)
        };
        let read = call(&digits(&spec)).expect("digits");
        assert_eq!((read.call, read.to.as_str(), read.talk), (7, "12", None));
        assert_eq!(
            (read.hangup, read.linger, read.answer_after),
            (Role::Callee, spec.linger, spec.answer_after)
        );
        assert_eq!((read.script, read.rtp), (Script::Hold, true));
        assert!(call("12A").is_none());
        assert!(digits(&CallSpec::new(1, "+49", Duration::ZERO)).starts_with("1A0A"));
    }
}
