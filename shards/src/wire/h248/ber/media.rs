//! Media descriptors and statistics of a binary message.

use super::element::Element;
use super::properties;
use super::reader::{Fields, Reader};
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::h248::text::whole_number;
use crate::wire::h248::view::COUNTED;
use crate::wire::h248::{
    Bounded, Counted, Description, Group, MAX_GROUPS, MAX_LIST, MAX_STREAMS, Mode, Statistic, Stream,
};
use smallvec::SmallVec;

type Streams = SmallVec<[Stream; 1]>;

/// MediaDescriptor
pub(super) fn streams(reader: Reader<'_>, element: &Element, streams: &mut Streams) -> Result<(), Fault> {
    let fields = reader.fields(element)?;
    let Some(choice) = fields.get(1) else { return Ok(()) };
    let (number, element) = reader.choice(choice)?;
    match number {
        0 => add(reader, 1, &element, streams),
        _ => reader.children(&element)?.iter().try_for_each(|child| {
            let fields = reader.fields(child)?;
            add(reader, reader.short(fields.need(0)?)?, fields.need(1)?, streams)
        }),
    }
}

/// StreamParms
fn add(reader: Reader<'_>, id: u16, element: &Element, streams: &mut Streams) -> Result<(), Fault> {
    if streams.iter().any(|stream| stream.id == id) {
        return Err(Fault::Malformed("H.248 stream twice"));
    }
    let fields = reader.fields(element)?;
    let mut stream = Stream::new(id);
    control(reader, &fields, &mut stream)?;
    stream.local = fields.get(1).map(|local| description(reader, local)).transpose()?;
    stream.remote = fields.get(2).map(|remote| description(reader, remote)).transpose()?;
    if let Some(list) = fields.get(3) {
        statistics(reader, list, &mut stream.statistics)?;
    }
    streams.put(stream, MAX_STREAMS, "too many H.248 streams")
}

/// LocalControlDescriptor
fn control(reader: Reader<'_>, fields: &Fields, stream: &mut Stream) -> Result<(), Fault> {
    let Some(control) = fields.get(0) else { return Ok(()) };
    let fields = reader.fields(control)?;
    stream.mode_span = fields.get(0).map_or(stream.mode_span, |mode| mode.whole);
    stream.mode = match fields.get(0).map(|mode| reader.number(mode)).transpose()? {
        Some(0) => Some(Mode::SendOnly),
        Some(1) => Some(Mode::ReceiveOnly),
        Some(2) => Some(Mode::SendReceive),
        Some(3) => Some(Mode::Inactive),
        Some(4) => Some(Mode::Loopback),
        _ => None,
    };
    stream.reserve_value = fields.get(1).map(|flag| reader.flag(flag)).transpose()?;
    stream.reserve_group = fields.get(2).map(|flag| reader.flag(flag)).transpose()?;
    Ok(())
}

/// LocalRemoteDescriptor
fn description(reader: Reader<'_>, element: &Element) -> Result<Description, Fault> {
    let mut groups = SmallVec::new();
    for child in reader.children(reader.fields(element)?.need(0)?)? {
        properties::check(reader, &child)?;
        groups.put(Group { span: child.whole }, MAX_GROUPS, "too many descriptions")?;
    }
    Ok(Description { whole: element.whole, groups })
}

/// StatisticsDescriptor
pub(super) fn statistics(
    reader: Reader<'_>,
    element: &Element,
    list: &mut Vec<Statistic>,
) -> Result<(), Fault> {
    for child in reader.children(element)? {
        let fields = reader.fields(&child)?;
        let name = fields.need(0)?;
        let code = reader.octets(name)?;
        let counted =
            COUNTED.iter().find(|(_, known, _)| known == code).map_or(Counted::Other, |found| found.2);
        let values = fields.get(1).map(|values| reader.children(values)).transpose()?.unwrap_or_default();
        let value = values.first().map(|value| reader.octets(value)).transpose()?.and_then(count);
        let statistic = Statistic { counted, name: name.content, value };
        list.put(statistic, MAX_LIST, "too many H.248 statistics")?;
    }
    Ok(())
}

/// An INTEGER in an octet string, or a number as text, which is in one or not.
fn count(octets: &[u8]) -> Option<u64> {
    let inner = unwrapped(octets);
    match octets.first() {
        Some(2) if inner.len() < octets.len() => {
            let digits = inner.strip_prefix(&[0]).unwrap_or(inner);
            let positive = inner.first()? & 0x80 == 0 && digits.len() <= 8;
            positive.then(|| digits.iter().fold(0, |sum, &digit| sum << 8 | u64::from(digit)))
        }
        _ => whole_number(inner),
    }
}

/// What is in the element that an octet string holds; the octet string itself when it holds none.
pub(super) fn unwrapped(octets: &[u8]) -> &[u8] {
    wrapping(octets).map_or(octets, |element| element.content.of(octets))
}

/// The element that is all of an octet string: "double wrapping" (Annex A). Text never begins as one does.
pub(super) fn wrapping(octets: &[u8]) -> Option<Element> {
    let control = octets.first().is_some_and(|&first| first < 0x20);
    let element = Element::only(octets, Span::new(0, octets.len())).ok().filter(|_| control)?;
    (!element.constructed).then_some(element)
}
