//! Bencoding, as the ng protocol of rtpengine uses it.

use std::collections::BTreeMap;

/// Lists and dictionaries may be this deep in each other.
const DEPTH: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// Octets that are text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Dictionary(BTreeMap<String, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Value {
    /// A dictionary.
    pub fn dictionary<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Dictionary(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// A list of texts.
    pub fn texts(texts: &[&str]) -> Self {
        Self::List(texts.iter().map(|&text| text.into()).collect())
    }

    /// The text at this name of a dictionary.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Dictionary(entries) => match entries.get(name)? {
                Self::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Write it down.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Integer(number) => *out += &format!("i{number}e"),
            Self::Text(text) => write_text(text, out),
            Self::List(values) => {
                out.push('l');
                values.iter().for_each(|value| value.write(out));
                out.push('e');
            }
            Self::Dictionary(entries) => {
                out.push('d');
                for (name, value) in entries {
                    write_text(name, out);
                    value.write(out);
                }
                out.push('e');
            }
        }
    }

    /// Read one value; `None` when the text is not exactly one.
    pub fn decode(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        reader.value(DEPTH).filter(|_| reader.rest.is_empty())
    }
}

fn write_text(text: &str, out: &mut String) {
    *out += &format!("{}:{text}", text.len());
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match self.rest.as_bytes().first()? {
            b'i' => {
                self.skip(1)?;
                self.until('e')?.parse().ok().map(Value::Integer)
            }
            b'l' => self.list(depth).map(Value::List),
            b'd' => self.dictionary(depth).map(Value::Dictionary),
            _ => self.text().map(|text| Value::Text(text.into())),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Value>> {
        self.skip(1)?;
        let mut values = Vec::new();
        while !self.ended()? {
            values.push(self.value(depth)?);
        }
        Some(values)
    }

    fn dictionary(&mut self, depth: usize) -> Option<BTreeMap<String, Value>> {
        self.skip(1)?;
        let mut entries = BTreeMap::new();
        while !self.ended()? {
            let name = self.text()?.to_owned();
            entries.insert(name, self.value(depth)?);
        }
        Some(entries)
    }

    /// Takes the end mark, if it is next.
    fn ended(&mut self) -> Option<bool> {
        let ended = self.rest.starts_with('e');
        if ended {
            self.skip(1)?;
        }
        (ended || !self.rest.is_empty()).then_some(ended)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length: usize = self.until(':')?.parse().ok()?;
        let text = self.rest.get(..length)?;
        self.skip(length)?;
        Some(text)
    }

    fn until(&mut self, mark: char) -> Option<&'a str> {
        let (before, after) = self.rest.split_once(mark)?;
        self.rest = after;
        Some(before)
    }

    fn skip(&mut self, octets: usize) -> Option<()> {
        self.rest = self.rest.get(octets..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value = Value::dictionary([
            ("command", "offer".into()),
            ("replace", Value::texts(&["origin", "session-connection"])),
            ("n", Value::Integer(-3)),
            ("empty", Value::dictionary([])),
        ]);
        let text = value.encode();
        assert_eq!(text, "d7:command5:offer5:emptyde1:ni-3e7:replacel6:origin18:session-connectionee");
        assert_eq!(Value::decode(&text), Some(value.clone()));
        assert_eq!(value.text("command"), Some("offer"));
        assert_eq!(value.text("n"), None);
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for text in
            ["", "d", "l", "i1", "5:abc", "d1:ae", "i1ei2e", "x", "99999999999999999999:a", "2:\u{20ac}"]
        {
            assert_eq!(Value::decode(text), None, "{text}");
        }
        assert_eq!(Value::decode(&"l".repeat(1_000)), None);
    }
}
