//! How long a contact is registered: what the terminal asks, what the registrar is asked, what the terminal is told
//! (RFC 3261 sections 10.2.1.1, 10.2.8 and 10.3).

use super::number;
use crate::random::Rng;
use crate::realm::Registration;
use crate::wire::Span;
use crate::wire::sip::{Message, Name, NameAddr};
use crate::wire::splice::Splice;

/// Lifetime of a contact for which nobody named one (RFC 3261 section 10.2.1.1 leaves it to the registrar).
pub(super) const DEFAULT: u64 = 3600;
/// RFC 3261 section 20.19: delta-seconds end here.
const LONGEST: u64 = u32::MAX as u64;

/// Seconds that a contact names: its own parameter beats the message's header.
pub(super) fn named(message: &Message<'_>, contact: &NameAddr) -> Option<u64> {
    let bytes = message.bytes();
    let own = contact.param(bytes, b"expires").and_then(|param| param.value);
    let own = own.and_then(|value| std::str::from_utf8(value.of(bytes)).ok()?.parse::<u64>().ok());
    own.or_else(|| number(message, Name::Expires)).map(|seconds| seconds.min(LONGEST))
}

/// Seconds that the registrar is asked for; `None` leaves what the terminal wrote.
pub(super) fn toward_registrar(asked: Option<u64>, policy: &Registration) -> Option<u64> {
    let least = policy.registrar.as_secs();
    match asked {
        Some(0) => None,
        _ if least == 0 => None,
        Some(asked) if asked >= least => None,
        _ => Some(least.min(LONGEST)),
    }
}

/// Is a lifetime shorter than what terminals may ask? (RFC 3261 section 10.3 step 7: never of one hour and more.)
pub(super) fn is_too_brief(asked: Option<u64>, policy: &Registration) -> bool {
    asked.is_some_and(|asked| asked > 0 && asked < policy.shortest.as_secs().min(DEFAULT))
}

/// Seconds that the terminal is told: never more than the registrar granted and than it asked. What the policy cuts
/// short is cut by up to a tenth more, at random, so that terminals that began together do not stay together.
pub(super) fn toward_terminal(rng: &mut Rng, granted: u64, asked: Option<u64>, policy: &Registration) -> u64 {
    let granted = asked.unwrap_or(granted).min(granted);
    let longest = policy.terminal.as_secs();
    if granted == 0 || longest == 0 || granted <= longest - longest / 10 {
        return granted;
    }
    let cut = granted.min(longest);
    (cut - rng.below(cut / 10 + 1)).max(1)
}

/// A contact value with another URI and, if it is given, another lifetime; everything else as it stands. A bare URI
/// gets brackets: its parameters must not read as the header's (RFC 3261 section 20.10).
pub(super) fn write(bytes: &[u8], contact: &NameAddr, uri: &[u8], lifetime: Option<u64>) -> Vec<u8> {
    let mut splice = Splice::new(bytes);
    if contact.bracketed {
        splice.replace(contact.uri.span, uri);
    } else {
        splice.replace(contact.uri.span, [b"<", uri, b">"].concat());
    }
    if let Some(seconds) = lifetime {
        let text = format!(";expires={seconds}");
        match contact.param(bytes, b"expires") {
            Some(param) => match param.value {
                Some(value) => splice.replace(value, seconds.to_string()),
                None => splice.replace(param.span, text),
            },
            None => splice.insert(contact.span.end, text),
        }
    }
    splice.delete(Span::new(0, contact.span.start));
    splice.delete(Span::new(contact.span.end, bytes.len()));
    splice.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn policy(terminal: u64, registrar: u64) -> Registration {
        let seconds = Duration::from_secs;
        Registration {
            terminal: seconds(terminal),
            registrar: seconds(registrar),
            shortest: seconds(30),
            ..Registration::default()
        }
    }

    #[test]
    fn a_terminal_is_told_at_most_the_least_of_all() {
        let mut rng = Rng::new([1; 32]);
        let mut told =
            |granted, asked, longest| toward_terminal(&mut rng, granted, asked, &policy(longest, 0));
        assert_eq!(told(3600, None, 0), 3600);
        assert_eq!(told(3600, Some(60), 0), 60);
        assert_eq!(told(30, Some(60), 120), 30);
        assert_eq!(told(0, Some(60), 120), 0);
        let all = (0..200).map(|_| told(3600, Some(3600), 100)).collect::<std::collections::HashSet<_>>();
        assert!(all.iter().all(|n| (90..=100).contains(n)) && all.len() > 5, "{all:?}");
        assert_eq!(told(3600, Some(3600), 1), 1);
    }

    #[test]
    fn a_registrar_is_asked_for_more_but_never_for_the_end() {
        assert_eq!(toward_registrar(Some(60), &policy(0, 3600)), Some(3600));
        assert_eq!(toward_registrar(None, &policy(0, 3600)), Some(3600));
        assert_eq!(toward_registrar(Some(7200), &policy(0, 3600)), None);
        assert_eq!(toward_registrar(Some(0), &policy(0, 3600)), None);
        assert_eq!(toward_registrar(Some(60), &policy(0, 0)), None);
    }

    #[test]
    fn brief_is_less_than_the_shortest_but_not_the_end() {
        let policy = policy(0, 0);
        assert!(is_too_brief(Some(29), &policy));
        assert!(
            !is_too_brief(Some(30), &policy)
                && !is_too_brief(Some(0), &policy)
                && !is_too_brief(None, &policy)
        );
    }
}
