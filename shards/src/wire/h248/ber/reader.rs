//! Values within elements.

use super::element::Element;
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::h248::mid::plain;
use crate::wire::h248::{ChangeAddress, ErrorDescriptor, Mid};
use std::net::IpAddr;

/// The octets of a message, and what is read from its elements.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

/// The components of a SEQUENCE, by the numbers of their tags.
pub(super) struct Fields {
    list: Vec<Element>,
}

impl Fields {
    /// The component of this number.
    pub(super) fn get(&self, number: u32) -> Option<&Element> {
        self.list.iter().find(|element| element.context() == Some(number))
    }

    /// The component of this number, which must be there.
    pub(super) fn need(&self, number: u32) -> Result<&Element, Fault> {
        self.get(number).ok_or(Fault::Malformed("H.248 component is missing"))
    }
}

impl<'a> Reader<'a> {
    pub(super) fn children(self, element: &Element) -> Result<Vec<Element>, Fault> {
        element.children(self.bytes)
    }

    /// A SEQUENCE: each component at most once, in the order of their numbers.
    pub(super) fn fields(self, element: &Element) -> Result<Fields, Fault> {
        let list = self.children(element)?;
        let ordered = list.windows(2).all(|pair| pair[0].context() < pair[1].context());
        let tagged = list.first().is_none_or(|first| first.context().is_some());
        if ordered && tagged {
            Ok(Fields { list })
        } else {
            Err(Fault::Malformed("H.248 component out of order"))
        }
    }

    /// What a CHOICE is: its explicit tag holds one element.
    pub(super) fn choice(self, element: &Element) -> Result<(u32, Element), Fault> {
        match self.children(element)?.as_slice() {
            [only] => Ok((only.context().ok_or(Fault::Malformed("H.248 choice"))?, *only)),
            _ => Err(Fault::Malformed("H.248 choice")),
        }
    }

    /// The octets of a primitive element.
    pub(super) fn octets(self, element: &Element) -> Result<&'a [u8], Fault> {
        // A string in segments is legal and never seen; what cannot be read is not passed on.
        if element.constructed {
            Err(Fault::Malformed("segmented string"))
        } else {
            Ok(element.content.of(self.bytes))
        }
    }

    /// An INTEGER or ENUMERATED, not negative.
    pub(super) fn number(self, element: &Element) -> Result<u32, Fault> {
        let fault = Fault::Malformed("H.248 number");
        let octets = self.octets(element)?;
        let digits = octets.strip_prefix(&[0]).unwrap_or(octets);
        let negative = octets.first().is_none_or(|first| first & 0x80 != 0);
        if negative || digits.len() > 4 {
            return Err(fault);
        }
        Ok(digits.iter().fold(0, |sum, &digit| sum << 8 | u32::from(digit)))
    }

    pub(super) fn short(self, element: &Element) -> Result<u16, Fault> {
        self.number(element)?.try_into().map_err(|_| Fault::Malformed("H.248 number"))
    }

    pub(super) fn flag(self, element: &Element) -> Result<bool, Fault> {
        Ok(self.octets(element)?.iter().any(|&octet| octet != 0))
    }

    pub(super) fn error(self, element: &Element) -> Result<ErrorDescriptor, Fault> {
        let fields = self.fields(element)?;
        let text = fields.get(1).map_or(Span::empty(element.whole.end), |text| text.content);
        Ok(ErrorDescriptor { code: self.short(fields.need(0)?)?, text })
    }

    /// The choice Mid, or the like whose alternative for IPv4 addresses has the number `first`.
    pub(super) fn mid(self, number: u32, element: &Element, first: u32) -> Result<Mid, Fault> {
        let fault = Fault::Malformed("H.248 message identifier");
        match number.checked_sub(first).ok_or(fault)? {
            kind @ 0..=2 => self.named(kind, element),
            3 => plain(self.octets(element)?, 255).map(Mid::Device),
            4 => Some(Mid::Mtp(self.octets(element)?.into()))
                .filter(|_| (2..=4).contains(&element.content.len())),
            _ => None,
        }
        .ok_or(fault)
    }

    /// An address or a name, with or without a port.
    fn named(self, kind: u32, element: &Element) -> Option<Mid> {
        let fields = self.fields(element).ok()?;
        let name = self.octets(fields.get(0)?).ok()?;
        let port = fields.get(1).map(|port| self.short(port)).transpose().ok()?;
        Some(match kind {
            0 => Mid::Ip(IpAddr::from(<[u8; 4]>::try_from(name).ok()?), port),
            1 => Mid::Ip(IpAddr::from(<[u8; 16]>::try_from(name).ok()?), port),
            _ => Mid::Domain(plain(name, 255)?, port),
        })
    }

    pub(super) fn change_address(self, number: u32, element: &Element) -> Result<ChangeAddress, Fault> {
        match number {
            0 => Ok(ChangeAddress::Port(self.short(element)?)),
            _ => Ok(ChangeAddress::Mid(self.mid(number, element, 1)?)),
        }
    }
}
