//! Media descriptors and statistics of a text message.

use super::message::unquoted;
use super::tree::Node;
use super::{is, sdp};
use crate::fault::Fault;
use crate::wire::h248::view::COUNTED;
use crate::wire::h248::{Bounded, Counted, MAX_LIST, MAX_STREAMS, Mode, Statistic, Stream};
use crate::wire::text;
use smallvec::SmallVec;

type Streams = SmallVec<[Stream; 1]>;

/// Reads a Media descriptor: streams, or the parameters of the only one.
pub(super) fn streams(node: Node<'_, '_>, streams: &mut Streams) -> Result<(), Fault> {
    for child in node.children() {
        if child.is("Stream", "ST") {
            let id = text::port(child.value()).ok_or(Fault::Malformed("H.248 stream identifier"))?;
            let stream = entry(streams, id)?;
            child.children().try_for_each(|parameter| read(parameter, stream).map(|_| ()))?;
        } else if is_parameter(child) {
            read(child, entry(streams, 1)?)?;
        }
    }
    Ok(())
}

/// The stream of this number, new when it has not been named before.
fn entry(streams: &mut Streams, id: u16) -> Result<&mut Stream, Fault> {
    let known = streams.iter().position(|stream| stream.id == id);
    let at = known.unwrap_or(streams.len());
    if known.is_none() {
        streams.put(Stream::new(id), MAX_STREAMS, "too many H.248 streams")?;
    }
    Ok(&mut streams[at])
}

fn is_parameter(node: Node<'_, '_>) -> bool {
    let names = [("Local", "L"), ("Remote", "R"), ("LocalControl", "O"), ("Statistics", "SA")];
    names.iter().any(|(long, short)| node.is(long, short))
}

fn read(node: Node<'_, '_>, stream: &mut Stream) -> Result<(), Fault> {
    let described = |known: bool| match node.item().block {
        Some(_) if known => Err(Fault::Malformed("H.248 descriptor twice")),
        Some(block) => Ok(Some(sdp::description(node.bytes(), block)?)),
        None => Ok(None),
    };
    if node.is("Local", "L") {
        stream.local = described(stream.local.is_some())?;
    } else if node.is("Remote", "R") {
        stream.remote = described(stream.remote.is_some())?;
    } else if node.is("LocalControl", "O") {
        node.children().for_each(|child| control(child, stream));
    } else if node.is("Statistics", "SA") {
        statistics(node, &mut stream.statistics)?;
    }
    Ok(())
}

fn control(node: Node<'_, '_>, stream: &mut Stream) {
    if node.is("Mode", "MO") {
        stream.mode = mode(node.value());
        stream.mode_span = node.item().value;
    } else if node.is("ReservedValue", "RV") {
        stream.reserve_value = Some(node.value().eq_ignore_ascii_case(b"ON"));
    } else if node.is("ReservedGroup", "RG") {
        stream.reserve_group = Some(node.value().eq_ignore_ascii_case(b"ON"));
    }
}

fn mode(word: &[u8]) -> Option<Mode> {
    let modes = [
        ("SendOnly", "SO", Mode::SendOnly),
        ("ReceiveOnly", "RC", Mode::ReceiveOnly),
        ("SendReceive", "SR", Mode::SendReceive),
        ("Inactive", "IN", Mode::Inactive),
        ("Loopback", "LB", Mode::Loopback),
    ];
    modes.iter().find(|(long, short, _)| is(word, long, short)).map(|found| found.2)
}

/// Reads a Statistics descriptor.
pub(super) fn statistics(node: Node<'_, '_>, list: &mut Vec<Statistic>) -> Result<(), Fault> {
    for child in node.children() {
        let item = child.item();
        let known = COUNTED.iter().find(|(name, ..)| name.eq_ignore_ascii_case(child.name()));
        let counted = known.map_or(Counted::Other, |found| found.2);
        let value = whole_number(unquoted(child.bytes(), item.value).of(child.bytes()));
        let statistic = Statistic { counted, name: item.name, value };
        list.put(statistic, MAX_LIST, "too many H.248 statistics")?;
    }
    Ok(())
}

/// A number; its fraction is cut off.
pub(in crate::wire::h248) fn whole_number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let mut parts = text.splitn(2, |&b| b == b'.');
    let whole = text::number(parts.next()?)?;
    parts.next().is_none_or(|fraction| fraction.iter().all(u8::is_ascii_digit)).then_some(whole)
}
