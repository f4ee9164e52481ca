//! What the text of H.248 consists of (H.248.1 annex B.2): items with names, values and bodies in braces. Long and short
//! names are the same.

/// Names that gateways and controllers use here, long and short.
const NAMES: [(&str, &str); 35] = [
    ("Transaction", "T"),
    ("Reply", "P"),
    ("Pending", "PN"),
    ("TransactionResponseAck", "K"),
    ("ImmAckRequired", "IA"),
    ("Context", "C"),
    ("Error", "ER"),
    ("Add", "A"),
    ("Modify", "MF"),
    ("Subtract", "S"),
    ("AuditValue", "AV"),
    ("Audit", "AT"),
    ("Notify", "N"),
    ("ServiceChange", "SC"),
    ("Services", "SV"),
    ("Method", "MT"),
    ("Reason", "RE"),
    ("Version", "V"),
    ("Profile", "PF"),
    ("ServiceChangeAddress", "AD"),
    ("Media", "M"),
    ("Stream", "ST"),
    ("LocalControl", "O"),
    ("Mode", "MO"),
    ("Local", "L"),
    ("Remote", "R"),
    ("Events", "E"),
    ("Signals", "SG"),
    ("ObservedEvents", "OE"),
    ("Statistics", "SA"),
    ("Restart", "RS"),
    ("Forced", "FO"),
    ("Disconnected", "DC"),
    ("SendReceive", "SR"),
    ("Inactive", "IN"),
];
const MORE: [(&str, &str); 2] = [("SendOnly", "SO"), ("ReceiveOnly", "RC")];

/// `name = value { body }`; name alone is the least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// The long name, where there is a short one.
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) body: Vec<Item>,
    /// The octets in the braces of Local and Remote.
    pub(super) raw: Option<String>,
}

impl Item {
    /// The first item of this name in the body.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.body.iter().find(|item| item.name.eq_ignore_ascii_case(name))
    }

    /// Its value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name)?.value.as_deref()
    }

    /// The first item of this name, at any depth.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        let deeper = || self.body.iter().find_map(|item| item.find(name));
        self.get(name).or_else(deeper)
    }
}

/// A name as it is written, long or short.
pub(super) fn word(name: &'static str, compact: bool) -> &'static str {
    let pair = NAMES.iter().chain(&MORE).find(|(long, _)| *long == name);
    pair.filter(|_| compact).map_or(name, |(_, short)| short)
}

/// The long form of a name that was read.
pub(super) fn long(name: &str) -> &str {
    let same = |word: &str| word.eq_ignore_ascii_case(name);
    let pair = NAMES.iter().chain(&MORE).find(|(long, short)| same(long) || same(short));
    pair.map_or(name, |(long, _)| long)
}

/// Read items up to the end.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn read(text: &str) -> Result<Vec<Item>, String> {
    let mut cursor = Cursor { text, at: 0 };
    let items = cursor.items()?;
    if cursor.peek().is_some() {
        return Err(format!("a brace too many at {}", cursor.at));
    }
    Ok(items)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Over white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let after = rest.trim_start();
            self.at += rest.len() - after.len();
            if !after.starts_with(';') {
                return;
            }
            self.at += after.find('\n').unwrap_or(after.len());
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip();
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    /// Up to one of the ends, or a quoted string without its quotes.
    fn token(&mut self) -> Result<&'a str, String> {
        self.skip();
        let rest = &self.text[self.at..];
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').ok_or("a quote is never closed")?;
            self.at += end + 2;
            return Ok(&quoted[..end]);
        }
        let end = |letter: char| letter.is_whitespace() || "={},;".contains(letter);
        let length = rest.find(end).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { Err(format!("a word is missing at {}", self.at)) } else { Ok(&rest[..length]) }
    }

    fn items(&mut self) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        loop {
            while self.take(',') {}
            if self.peek().is_none_or(|letter| letter == '}') {
                return Ok(items);
            }
            items.push(self.item()?);
        }
    }

    fn item(&mut self) -> Result<Item, String> {
        let mut item = Item { name: long(self.token()?).to_owned(), ..Item::default() };
        if self.take('=') {
            item.value = Some(self.token()?.to_owned());
        }
        if !self.take('{') {
            return Ok(item);
        }
        if matches!(item.name.as_str(), "Local" | "Remote") {
            item.raw = Some(self.raw()?);
        } else {
            item.body = self.items()?;
        }
        if self.take('}') { Ok(item) } else { Err(format!("a brace is missing at {}", self.at)) }
    }

    /// Octets up to the brace that ends them (`\}` stands for one that does not).
    fn raw(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        let ends = |(at, _): &(usize, &str)| !rest[..*at].ends_with('\\');
        let (end, _) = rest.match_indices('}').find(ends).ok_or("octets without an end")?;
        self.at += end;
        Ok(rest[..end].trim_start().replace("\\}", "}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_names_are_the_same() {
        let long = read("Transaction = 7 {\r\n Context = $ { Add = al/$, Add = rtp/$ {\r\n Media { Stream = 1 { Local {\r\nv=0\r\ni=a\\}b\r\n} } } } } } ; the end").expect("items");
        let short = read("T=7{C=${A=al/$,A=rtp/${M{ST=1{L{v=0\r\ni=a\\}b\r\n}}}}}}").expect("items");
        assert_eq!(long, short);
        assert_eq!(long[0].find("Local").and_then(|item| item.raw.as_deref()), Some("v=0\r\ni=a}b\r\n"));
        assert_eq!((long[0].name.as_str(), long[0].value.as_deref()), ("Transaction", Some("7")));
    }

    #[test]
    fn what_does_not_close_is_told() {
        for bad in ["T=1{", "T=1}", "T=", "L{v=0", "Reason=\"901"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
