//! The sources as text: with comments and literals, and without them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Rust is.
pub(crate) const RUST: &[&str] = &["src", "shards", "loadgen", "tests", "benches", "fuzz"];
/// The pages for readers.
pub(crate) const PAGES: &[&str] = &["README.md", "docs"];
/// All that people wrote.
pub(crate) const ALL: &[&str] = &[
    "src",
    "shards",
    "loadgen",
    "tests",
    "benches",
    "fuzz",
    "scripts",
    ".ci",
    "config",
    "docs",
    "README.md",
    "Cargo.toml",
    "clippy.toml",
    "deny.toml",
];

/// One file.
pub(crate) struct Source {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The same lines, with blanks for comments and for what is in quotes (Rust only).
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { blank(&text) } else { text.clone() };
        Self { path, text, code }
    }

    /// The number of the line that holds this octet, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code.as_bytes()[..at].iter().filter(|&&octet| octet == b'\n').count() + 1
    }

    /// Where the unit tests at the end of the file begin.
    pub(crate) fn tests_at(&self) -> usize {
        let whole = self.path.contains("tests/") || self.path.ends_with("/tests.rs");
        if whole { 0 } else { self.code.find("#[cfg(test)]\nmod ").unwrap_or(self.code.len()) }
    }

    /// An offence at this octet.
    pub(crate) fn offence(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line(at))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files under these places; places that are not there have none. Corpora are not ours to judge.
pub(crate) fn read(places: &[&str]) -> Vec<Source> {
    let paths = places.iter().flat_map(|place| files(place));
    let mut sources = Vec::new();
    for path in paths.filter(|path| !path.contains("/corpus/") && !path.contains("/target/")) {
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            sources.push(Source::new(path, text));
        }
    }
    sources
}

/// The text of one file that must be there.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Is there such a file or directory?
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Files below a place, from the root of the repository, sorted.
pub(crate) fn files(place: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(place), &mut found);
    let relative = |path: PathBuf| path.strip_prefix(root()).map(|p| p.display().to_string()).ok();
    let mut found: Vec<_> = found.into_iter().filter_map(relative).collect();
    found.sort();
    found
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        collect(&entry.path(), found);
    }
}

/// Modules directly in a directory, but for `mod`.
pub(crate) fn modules(place: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(place)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.map(|name| name.trim_end_matches(".rs").to_owned()).filter(|name| name != "mod").collect()
}

/// Where this word begins, standing alone.
pub(crate) fn word(code: &str, word: &str) -> Option<usize> {
    words(code, word).next()
}

/// All places where this word stands alone.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let octets = code.as_bytes();
    let part = |at: usize| octets.get(at).is_some_and(|&octet| is_word(octet));
    let alone = move |at: usize| (at == 0 || !part(at - 1)) && !part(at + word.len());
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| alone(at))
}

/// May this octet stand in a name?
pub(crate) fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

/// Blanks for comments, strings and characters; line ends stay.
fn blank(text: &str) -> String {
    let (octets, mut out, mut at) = (text.as_bytes(), text.as_bytes().to_vec(), 0);
    while at < octets.len() {
        let end = at + literal(&octets[at..], at > 0 && is_word(octets[at - 1]));
        out[at..end].iter_mut().filter(|octet| **octet != b'\n').for_each(|octet| *octet = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of the comment or literal that begins here; 0 when none does.
fn literal(rest: &[u8], in_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'\'', b'\\', ..] => 3 + rest[3..].iter().position(|&octet| octet == b'\'').unwrap_or(0) + 1,
        [b'\'', ..] => character(rest),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw(rest, 2),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A character, or 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    let width = rest.iter().skip(2).take_while(|&&octet| octet & 0xC0 == 0x80).count();
    if rest.get(2 + width) == Some(&b'\'') { 3 + width } else { 0 }
}

/// A raw string whose prefix has this many letters, or 0 for a raw name.
fn raw(rest: &[u8], letters: usize) -> usize {
    let hashes = rest[letters..].iter().take_while(|&&octet| octet == b'#').count();
    if rest.get(letters + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[letters + hashes + 1..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    (letters + hashes + 1 + length + end.len()).min(rest.len())
}

#[test]
fn comments_and_literals_become_blanks() {
    let text =
        "let a = \"fn {\"; // fn\nlet b = 'x'; let c: &'a str = r#\"\"}\"#; /* /* fn */ */ let d = b'\\'';";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<String>(), "leta=;letb=;letc:&'astr=;letd=b;");
}
