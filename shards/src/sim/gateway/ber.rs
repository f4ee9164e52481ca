//! Tags, lengths and values (X.690), as far as one needs them to write H.248 and to read it.

/// One value with its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlv<'a> {
    /// The first octet.
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

/// SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// OCTET STRING.
pub(super) const OCTETS: u8 = 0x04;
/// IA5String.
pub(super) const IA5: u8 = 0x16;
/// INTEGER.
pub(super) const INTEGER: u8 = 0x02;

/// Write a value.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let first = octets.iter().position(|octet| *octet != 0).unwrap_or(7);
        out.push(0x80 | (octets.len() - first) as u8);
        out.extend_from_slice(&octets[first..]);
    }
    out.extend_from_slice(content);
    out
}

/// Component `n` of a sequence: a value.
pub(super) fn plain(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0x80 | n, content)
}

/// Component `n`: values.
pub(super) fn of(n: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0xA0 | n, &parts.concat())
}

/// A sequence of parts.
pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// Component `n`: a number.
pub(super) fn number(n: u8, value: u64) -> Vec<u8> {
    plain(n, &integer(value))
}

/// The octets of a number.
pub(super) fn integer(value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(7);
    let sign: &[u8] = if octets[first] & 0x80 != 0 { &[0] } else { &[] };
    [sign, &octets[first..]].concat()
}

impl<'a> Tlv<'a> {
    /// The one value that these octets are.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn read(octets: &'a [u8]) -> Result<Self, String> {
        match Self::all(octets)?[..] {
            [one] => Ok(one),
            ref several => Err(format!("{} values where one belongs", several.len())),
        }
    }

    /// All values here.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn all(mut octets: &'a [u8]) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        while !octets.is_empty() {
            let (one, rest) = Self::first(octets)
                .ok_or_else(|| format!("a length leads beyond {} octets", octets.len()))?;
            all.push(one);
            octets = rest;
        }
        Ok(all)
    }

    fn first(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[tag, length], rest) = octets.split_first_chunk::<2>()?;
        let (length, rest) = if length < 0x80 {
            (usize::from(length), rest)
        } else {
            let (count, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
            (count.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some((Self { tag, content }, rest))
    }

    /// The values in it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parts(self) -> Result<Vec<Self>, String> {
        Self::all(self.content)
    }

    /// Component `n`, if it is there.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn get(self, n: u8) -> Result<Option<Self>, String> {
        Ok(self.parts()?.into_iter().find(|part| part.component() == n))
    }

    /// Component `n`.
    ///
    /// # Errors
    /// It is not there, or something is wrong.
    pub(super) fn need(self, n: u8) -> Result<Self, String> {
        self.get(n)?.ok_or_else(|| format!("no component {n}"))
    }

    /// The only value in it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn one(self) -> Result<Self, String> {
        Self::read(self.content)
    }

    /// The number of its tag.
    pub(super) const fn component(self) -> u8 {
        self.tag & 0x1F
    }

    /// As a number.
    pub(super) fn number(self) -> u64 {
        self.content.iter().fold(0, |sum, &octet| sum << 8 | u64::from(octet))
    }

    /// As text.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.content).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        let long = sequence(&[number(0, 300), plain(1, &[7; 300]), of(2, &[number(0, 0x80)])]);
        let read = Tlv::read(&long).expect("a value");
        assert_eq!((read.tag, read.parts().expect("parts").len()), (SEQUENCE, 3));
        assert_eq!(read.need(0).expect("a number").number(), 300);
        assert_eq!(read.need(1).expect("octets").content.len(), 300);
        assert_eq!(read.need(2).and_then(|part| part.need(0)).map(Tlv::number), Ok(0x80));
        assert_eq!(integer(0x80), [0, 0x80]);
        assert!(Tlv::read(&long[..100]).is_err() && read.need(3).is_err());
    }
}
