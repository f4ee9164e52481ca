//! Text messages (H.248.1 Annex B).

mod command;
mod media;
mod message;
mod sdp;
mod tree;

pub(super) use command::reason;
pub(super) use media::whole_number;
pub(super) use message::parse;
pub(super) use sdp::{escape, sdp};

/// Whether a word is one of the two tokens, in any case.
pub(super) fn is(word: &[u8], long: &str, short: &str) -> bool {
    word.eq_ignore_ascii_case(short.as_bytes()) || word.eq_ignore_ascii_case(long.as_bytes())
}
