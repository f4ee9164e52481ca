//! Property groups as session descriptions, and back: each property of Annex C.11 is a line (`0000B001` is `v=`), and of
//! those of Annex C.6 addresses and ports are lines too, so that one rewriter serves all.
//!
//! A value is raw text with some stacks and an IA5String in the octet string with others: a new value is written as the
//! old was. Properties that are no lines stay where they are.

use super::element::Element;
use super::media::{unwrapped, wrapping};
use super::reader::Reader;
use super::write;
use crate::fault::Fault;
use crate::wire::h248::MAX_LIST;
use crate::wire::sdp::Direction;
use crate::wire::{Span, text};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The letters of the properties 0000B001 to 0000B00F.
const LETTERS: &[u8; 15] = b"vosiuepcbzkatrm";

/// What a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A line of SDP with this letter.
    Line(u8),
    /// An IPv4 address, 00006001.
    Ip4,
    /// An IPv6 address, 00006002.
    Ip6,
    /// A port, 00006003.
    Port,
    /// No line.
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            [0, 0, 0xb0, number] => {
                let letter = usize::from(*number).checked_sub(1).and_then(|at| LETTERS.get(at));
                letter.map_or(Self::Other, |letter| Self::Line(*letter))
            }
            [0, 0, 0x60, 1] => Self::Ip4,
            [0, 0, 0x60, 2] => Self::Ip6,
            [0, 0, 0x60, 3] => Self::Port,
            _ => Self::Other,
        }
    }

    /// The line that a value is, without its end.
    fn line(self, octets: &[u8]) -> Result<Vec<u8>, Fault> {
        let fault = Fault::Malformed("H.248 property");
        let inner = unwrapped(octets);
        match self {
            Self::Line(letter) => {
                let value = inner.strip_suffix(b"\n").unwrap_or(inner);
                let value = value.strip_suffix(b"\r").unwrap_or(value);
                let one = !value.iter().any(|octet| matches!(octet, b'\r' | b'\n'));
                one.then(|| [&[letter, b'='], value].concat()).ok_or(fault)
            }
            Self::Ip4 => {
                let ip = <[u8; 4]>::try_from(octets).or(<[u8; 4]>::try_from(inner)).map_err(|_| fault)?;
                Ok(format!("c=IN IP4 {}", Ipv4Addr::from(ip)).into_bytes())
            }
            Self::Ip6 => {
                let ip = <[u8; 16]>::try_from(octets).or(<[u8; 16]>::try_from(inner)).map_err(|_| fault)?;
                Ok(format!("c=IN IP6 {}", Ipv6Addr::from(ip)).into_bytes())
            }
            Self::Port => match *octets {
                [high, low] | [2, 2, high, low] | [2, 3, 0, high, low] | [4, 2, high, low] => {
                    Ok(port([high, low]))
                }
                [2, 1, low] => Ok(port([0, low])),
                _ => Err(fault),
            },
            Self::Other => Err(fault),
        }
    }
}

/// What is transported is not known here: a transport that is no RTP lets everything pass.
fn port(octets: [u8; 2]) -> Vec<u8> {
    format!("m=audio {} udp -", u16::from_be_bytes(octets)).into_bytes()
}

/// A property and its values.
struct Property {
    element: Element,
    name: Element,
    kind: Kind,
    /// The SEQUENCE OF OCTET STRING.
    list: Element,
    values: Vec<Value>,
}

/// A value that is a line.
struct Value {
    element: Element,
    line: Vec<u8>,
}

fn read(reader: Reader<'_>, group: &Element) -> Result<Vec<Property>, Fault> {
    let mut lines = 0;
    let mut properties = Vec::new();
    for element in reader.children(group)? {
        let fields = reader.fields(&element)?;
        let (name, list) = (*fields.need(0)?, *fields.need(1)?);
        let kind = Kind::of(reader.octets(&name)?);
        let mut property = Property { element, name, kind, list, values: Vec::new() };
        let values = if kind == Kind::Other { Vec::new() } else { reader.children(&list)? };
        for element in values {
            property.values.push(Value { element, line: kind.line(reader.octets(&element)?)? });
            lines += 1;
        }
        if lines > MAX_LIST {
            return Err(Fault::Refused("too many H.248 properties"));
        }
        properties.push(property);
    }
    Ok(properties)
}

/// Whether a property group can be read.
pub(super) fn check(reader: Reader<'_>, group: &Element) -> Result<(), Fault> {
    read(reader, group).map(|_| ())
}

/// The description that the property group at `group` is; empty when it cannot be read.
pub(in crate::wire::h248) fn sdp(bytes: &[u8], group: Span) -> Vec<u8> {
    let properties = Element::only(bytes, group).and_then(|group| read(Reader { bytes }, &group));
    let properties = properties.unwrap_or_default();
    let lines = properties.iter().flat_map(|property| &property.values).map(|value| value.line.as_slice());
    lines.flat_map(|line| [line, b"\r\n"]).flatten().copied().collect()
}

/// The property group at `group` as this description wants it.
///
/// # Errors
/// [`Fault::Malformed`] when the group cannot be read, or when the description says what it cannot hold.
pub(in crate::wire::h248) fn rewrite(bytes: &[u8], group: Span, sdp: &[u8]) -> Result<Vec<u8>, Fault> {
    let reader = Reader { bytes };
    let group = Element::only(bytes, group)?;
    let properties = read(reader, &group)?;
    let new = lines(sdp);
    let old: Vec<&[u8]> =
        properties.iter().flat_map(|property| &property.values).map(|value| value.line.as_slice()).collect();
    let first = properties.iter().flat_map(|property| &property.values).next();
    let wrapped = first.is_some_and(|value| wrapping(value.element.content.of(bytes)).is_some());
    let mut writer = Writer { bytes, new: &new, next: 0, wrapped, out: Vec::new() };
    let mut matched = align(&old, &new).into_iter();
    for property in &properties {
        let matched: Vec<_> = matched.by_ref().take(property.values.len()).collect();
        writer.property(property, &matched)?;
    }
    writer.insert(new.len(), &[])?;
    Ok(group.with(bytes, &writer.out))
}

/// The lines of a description, without their ends and without empty ones.
fn lines(sdp: &[u8]) -> Vec<&[u8]> {
    let lines = sdp.split(|&octet| octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Which new line each old one becomes, if any: the same line if there is one, else one of the same name, in order.
fn align(old: &[&[u8]], new: &[&[u8]]) -> Vec<Option<usize>> {
    let mut matched = vec![None; old.len()];
    let mut from = 0;
    for (at, line) in new.iter().enumerate() {
        let rest = &old[from..];
        let same = rest.iter().position(|known| known == line);
        let alike = || rest.iter().position(|known| name(known) == name(line));
        if let Some(found) = same.or_else(alike) {
            matched[from + found] = Some(at);
            from += found + 1;
        }
    }
    matched
}

/// The letter, and for attributes the name, which is one for all directions.
fn name(line: &[u8]) -> &[u8] {
    if line.strip_prefix(b"a=").and_then(Direction::of).is_some() {
        return b"a=sendrecv";
    }
    let end = if line.starts_with(b"a=") { line.iter().position(|&octet| octet == b':') } else { Some(2) };
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

/// The content of a property group.
struct Writer<'a> {
    bytes: &'a [u8],
    new: &'a [&'a [u8]],
    /// The first line that was not written yet.
    next: usize,
    /// Values are IA5Strings.
    wrapped: bool,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// A property, whose values become these lines or go.
    fn property(&mut self, property: &Property, matched: &[Option<usize>]) -> Result<(), Fault> {
        if property.values.is_empty() {
            self.out.extend_from_slice(property.element.whole.of(self.bytes));
            return Ok(());
        }
        let Some(&last) = matched.iter().flatten().last() else { return Ok(()) };
        self.insert(last + 1, matched)?;
        let mut values = Vec::new();
        let mut name = property.name.whole.of(self.bytes).to_vec();
        for (value, at) in property.values.iter().zip(matched) {
            if let Some(at) = *at {
                let line = self.new[at];
                if line == value.line {
                    values.extend_from_slice(value.element.whole.of(self.bytes));
                } else {
                    values.extend(self.value(property, value, line, &mut name)?);
                }
            }
        }
        let list = property.list.with(self.bytes, &values);
        let rest = Span::new(property.list.whole.end, property.element.content.end);
        let content = [name.as_slice(), &list, rest.of(self.bytes)].concat();
        self.out.extend(property.element.with(self.bytes, &content));
        Ok(())
    }

    /// A value that says this line, written as the old one was.
    fn value(
        &self,
        property: &Property,
        old: &Value,
        line: &[u8],
        name: &mut Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        let octets = old.element.content.of(self.bytes);
        let wrap = wrapping(octets);
        let new = match property.kind {
            Kind::Line(_) => line.get(2..).unwrap_or_default().to_vec(),
            Kind::Port => return Ok(old.element.with(self.bytes, &port_like(octets, line)?)),
            Kind::Ip4 | Kind::Ip6 | Kind::Other => {
                let (code, ip) = address(line)?;
                *name = property.name.with(self.bytes, &[0, 0, 0x60, code]);
                ip
            }
        };
        // An address that happens to look like an element is one of its own length.
        let wrap =
            wrap.filter(|_| !matches!((property.kind, octets.len()), (Kind::Ip4, 4) | (Kind::Ip6, 16)));
        let new = wrap.map_or_else(|| new.clone(), |wrap| wrap.with(octets, &new));
        Ok(old.element.with(self.bytes, &new))
    }

    /// The lines before `end` that are new, and are none of a property's own.
    fn insert(&mut self, end: usize, own: &[Option<usize>]) -> Result<(), Fault> {
        for at in (self.next..end).filter(|at| !own.contains(&Some(*at))) {
            let line = self.new[at];
            let [letter, b'=', value @ ..] = line else { return Err(Fault::Malformed("H.248 property")) };
            let number =
                LETTERS.iter().position(|known| known == letter).ok_or(Fault::Malformed("H.248 property"))?;
            let value = if self.wrapped { write::element(0x16, value) } else { value.to_vec() };
            let name = write::element(0x80, &[0, 0, 0xb0, number as u8 + 1]);
            let list = write::around(0xa1, &[write::element(4, &value)]);
            self.out.extend(write::around(0x30, &[name, list]));
        }
        self.next = end;
        Ok(())
    }
}

/// The address of a c= line and the property that holds one of its family.
fn address(line: &[u8]) -> Result<(u8, Vec<u8>), Fault> {
    let word = line.rsplit(|&octet| octet == b' ').next().and_then(text::ip);
    match word.ok_or(Fault::Malformed("H.248 address property"))? {
        std::net::IpAddr::V4(ip) => Ok((1, ip.octets().to_vec())),
        std::net::IpAddr::V6(ip) => Ok((2, ip.octets().to_vec())),
    }
}

/// The port of an m= line, in octets or as an element, as the old one was.
fn port_like(old: &[u8], line: &[u8]) -> Result<Vec<u8>, Fault> {
    let word = line.split(|&octet| octet == b' ').nth(1).and_then(text::port);
    let octets = word.ok_or(Fault::Malformed("H.248 port property"))?.to_be_bytes();
    Ok(match old {
        [_, _] => octets.to_vec(),
        [4, ..] => write::element(4, &octets),
        _ => write::integer(2, u32::from(u16::from_be_bytes(octets))),
    })
}
