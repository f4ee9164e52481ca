//! Binary messages (H.248.1 Annex A): the elements are walked, nothing is decoded that is not read. The numbers are those
//! of the ASN.1 module's automatic tags.

mod command;
mod element;
mod media;
mod message;
mod patch;
mod properties;
mod reader;
mod write;

pub(super) use message::parse;
pub(super) use patch::patch;
pub(super) use properties::{rewrite, sdp};
pub(super) use write::{around, change_address, element, integer, mid};
