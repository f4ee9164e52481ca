//! Masked Call-IDs: many phones write their private address into them, and softswitches theirs.
//!
//! Where an access realm asks for it, each side sees the other's Call-IDs sealed. Nothing is remembered: the sealing is
//! deterministic and opens to the exact octets, so that every message of a dialog, on whatever shard, is translated
//! alike. Within Portolan a Call-ID always has the form that the softswitch sees.
//!
//! A softswitch may carry a call from one terminal on to another one under the same Call-ID. The second terminal must
//! not see what the first one wrote: a masked Call-ID is opened only toward the party that wrote it, which its tag
//! tells, and is masked again toward all others.

use crate::signaling::label::Sealer;
use crate::signaling::siv::Use;
use data_encoding::BASE64URL_NOPAD;
use std::borrow::Cow;

/// Begins every masked Call-ID. Call-IDs compare with case (RFC 3261 section 20.8), and base 64 for URLs is a token.
const PREFIX: &[u8] = b"pl-";
/// How often a Call-ID is masked at most: by its writer's realm, and again toward another terminal.
const DEPTH: usize = 4;
/// In the place of a writer's mark: it opens toward anybody.
const ANYBODY: [u8; 4] = [0; 4];

/// The party that will read a Call-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader<'a> {
    /// The one with this tag in the dialog that the Call-ID names.
    Tagged(Option<&'a [u8]>),
    /// The writer himself: the Call-ID is told back to him.
    Writer,
    /// Somebody who is not in that dialog.
    Stranger,
}

/// The form that the softswitch sees of what a terminal wrote. `tag` is the terminal's in the dialog that the Call-ID
/// names, if the message tells it. At most 1.4 times as long, and 32 octets more.
pub(super) fn toward_core(sealer: &Sealer, call_id: &[u8], tag: Option<&[u8]>) -> Vec<u8> {
    match open(sealer, call_id) {
        Some((_, theirs)) => theirs,
        None => seal(sealer, mark(sealer, tag), call_id),
    }
}

/// The form that a terminal sees of what the softswitch wrote.
pub(super) fn toward_access(sealer: &Sealer, call_id: &[u8], reader: Reader<'_>) -> Vec<u8> {
    let own = open(sealer, call_id).filter(|(writer, _)| match reader {
        Reader::Tagged(tag) => *writer == ANYBODY || *writer == mark(sealer, tag),
        Reader::Writer => true,
        Reader::Stranger => false,
    });
    match own {
        Some((_, own)) => own,
        None => seal(sealer, ANYBODY, call_id),
    }
}

/// What the first writer wrote, however often it was masked: both sides' forms of one call give the same.
pub(super) fn innermost<'a>(sealer: &Sealer, call_id: &'a [u8]) -> Cow<'a, [u8]> {
    let mut inner = Cow::Borrowed(call_id);
    for _ in 0..DEPTH {
        match open(sealer, &inner) {
            Some((_, deeper)) => inner = Cow::Owned(deeper),
            None => break,
        }
    }
    inner
}

fn seal(sealer: &Sealer, writer: [u8; 4], call_id: &[u8]) -> Vec<u8> {
    let sealed = sealer.seal_bytes(Use::CallId, &[&writer[..], call_id].concat());
    [PREFIX, BASE64URL_NOPAD.encode(&sealed).as_bytes()].concat()
}

fn open(sealer: &Sealer, call_id: &[u8]) -> Option<([u8; 4], Vec<u8>)> {
    let sealed = BASE64URL_NOPAD.decode(call_id.strip_prefix(PREFIX)?).ok()?;
    let mut plain = sealer.open_bytes(Use::CallId, &sealed)?;
    let writer = *plain.first_chunk()?;
    plain.drain(..writer.len());
    Some((writer, plain))
}

/// The mark of a writer who has this tag; anybody's when the message does not tell.
fn mark(sealer: &Sealer, tag: Option<&[u8]>) -> [u8; 4] {
    let number = tag.map_or(0, |tag| (sealer.tag(tag) as u32).max(1));
    number.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32])
    }

    #[test]
    fn a_call_of_a_terminal_reads_back_for_it_and_for_nobody_else() {
        let (sealer, own) = (sealer(), &b"abc@192.168.1.10"[..]);
        let masked = toward_core(&sealer, own, Some(b"a"));
        assert!(
            masked.starts_with(PREFIX)
                && masked.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
        );
        assert_eq!(toward_access(&sealer, &masked, Reader::Tagged(Some(b"a"))), own);
        assert_eq!(toward_access(&sealer, &masked, Reader::Writer), own);
        for other in [Reader::Tagged(Some(b"b")), Reader::Tagged(None), Reader::Stranger] {
            let twice = toward_access(&sealer, &masked, other);
            assert!(twice.starts_with(PREFIX) && twice != masked);
            assert_eq!(toward_core(&sealer, &twice, Some(b"b")), masked);
            assert_eq!(innermost(&sealer, &twice), own);
        }
        assert_eq!(innermost(&sealer, &masked), own);
    }

    #[test]
    fn what_only_looks_like_ours_is_a_call_id_like_any_other() {
        let sealer = sealer();
        let alien = toward_core(&Sealer::new(&[8; 32]), b"abc", None);
        for foreign in [&b"pl-"[..], b"pl-AAAA", b"pl-no base 64!", &alien] {
            assert_eq!(innermost(&sealer, foreign), foreign);
            let masked = toward_core(&sealer, foreign, Some(b"a"));
            assert_eq!(toward_access(&sealer, &masked, Reader::Tagged(Some(b"a"))), foreign);
        }
    }

    proptest! {
        #[test]
        fn both_directions_are_inverse_stable_and_short(
            call_id in proptest::collection::vec(any::<u8>(), 0..600),
            tag in proptest::option::of("[a-z0-9]{1,8}"),
        ) {
            let (sealer, tag) = (sealer(), tag.as_deref().map(str::as_bytes));
            let up = toward_core(&sealer, &call_id, tag);
            prop_assert_eq!(&toward_core(&sealer, &call_id, tag), &up);
            prop_assert!(up.len() <= 2 * call_id.len() + 60);
            prop_assert_eq!(&toward_access(&sealer, &up, Reader::Tagged(tag)), &call_id);
            let down = toward_access(&sealer, &call_id, Reader::Tagged(tag));
            prop_assert_eq!(toward_core(&sealer, &down, Some(b"other")), call_id);
        }
    }
}
