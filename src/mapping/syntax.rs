//! RON text -> raw values; `ron`'s own errors with a better place and a hint.

use super::place::Source;
use super::problem::{Place, Problem, Severity};
use ron::error::{Error, Position, SpannedError};
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Parse one file. Optional values need no `Some(...)`.
pub(super) fn parse<T: DeserializeOwned>(source: &Source) -> Result<T, Box<Problem>> {
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    options.from_str(&source.text).map_err(|error| Box::new(explain(source, &error)))
}

fn explain(source: &Source, error: &SpannedError) -> Problem {
    let text = &source.text;
    let start = offset(text, error.span.start);
    let end = offset(text, error.span.end).max(start);
    let (message, word, hint) = describe(&error.code);
    let span = match &error.code {
        Error::MissingStructField { .. } => source.root().around(end).key(),
        Error::TrailingCharacters => token(text, end, end),
        _ => word.and_then(|word| word_before(text, end, &word)).unwrap_or_else(|| token(text, start, end)),
    };
    Problem { severity: Severity::Error, message, place: Some(Place::new(source, span)), hint }
}

/// The message, the word of the text that it is about, and a hint.
fn describe(error: &Error) -> (String, Option<String>, Option<String>) {
    match error {
        Error::NoSuchStructField { expected, found, outer } => {
            let owner = owner(expected.first().unwrap_or(&""), outer)
                .map_or_else(String::new, |outer| format!(" in {outer}"));
            (format!("unknown field `{found}`{owner}"), Some(found.clone()), Some(choices(found, expected)))
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            (format!("unknown value `{found}`"), Some(found.clone()), Some(choices(found, expected)))
        }
        Error::MissingStructField { field, outer } => {
            let owner = owner(field, outer).unwrap_or("the file");
            (format!("{owner} lacks the field `{field}`"), None, Some(format!("add `{field}: ...`")))
        }
        Error::DuplicateStructField { field, .. } => {
            let hint = format!("keep one `{field}`");
            (format!("the field `{field}` stands twice"), Some((*field).to_owned()), Some(hint))
        }
        Error::SuggestRawIdentifier(word) | Error::InvalidIdentifier(word) => {
            let hint = "a listener is written `Udp(5060)`, shards `Auto`, `Count(2)` or `Cores([0, 1])`";
            (format!("`{word}` is not a name"), Some(word.clone()), Some(hint.to_owned()))
        }
        other => (lower(&other.to_string()), None, syntax_hint(other)),
    }
}

/// Who has the fields that begin with this one: `ron` takes the record around it for the one that may also be a text.
fn owner<'o>(first: &str, outer: &'o Option<String>) -> Option<&'o str> {
    if first == "uri" { Some("Target") } else { outer.as_deref() }
}

fn syntax_hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::ExpectedMap => "a map is written `{ \"name\": (...), }`",
        Error::ExpectedArray => "a list is written `[a, b]`",
        Error::ExpectedString => "a text stands in double quotes",
        Error::ExpectedComma => "separate fields and elements with commas",
        Error::ExpectedDifferentStructName { .. } | Error::ExpectedNamedStructLike("Portolan") => {
            "the whole file stands in parentheses: `(realms: {...}, ...)`"
        }
        Error::ExpectedStructLike | Error::ExpectedNamedStructLike(_) => {
            "parts stand in parentheses: `(field: value, ...)`, or `(16384, 32767)`"
        }
        Error::ExpectedStructLikeEnd | Error::ExpectedMapEnd | Error::ExpectedArrayEnd => {
            "is there a comma missing before this place, or a value too much?"
        }
        Error::IntegerOutOfBounds => "ports are 1 to 65535",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// "did you mean", or all there is.
pub(super) fn choices<S: AsRef<str>>(found: &str, expected: &[S]) -> String {
    let near = |word: &str| strsim::damerau_levenshtein(&found.to_lowercase(), &word.to_lowercase());
    let best = expected.iter().map(|word| (near(word.as_ref()), word.as_ref())).min();
    match best {
        Some((distance, word)) if distance <= 1 + found.len() / 4 => format!("did you mean `{word}`?"),
        Some(_) => {
            let mut all: Vec<_> = expected.iter().map(|word| format!("`{}`", word.as_ref())).collect();
            all.dedup();
            format!("one of {}", all.join(", "))
        }
        None => "there is nothing to choose from".to_owned(),
    }
}

/// The octet offset of a position; columns count characters.
fn offset(text: &str, position: Position) -> usize {
    let line_start: usize =
        text.split_inclusive('\n').take(position.line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    let column = rest.char_indices().nth(position.col.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    line_start + column
}

/// The last place before `end` where this whole word stands.
fn word_before(text: &str, end: usize, word: &str) -> Option<Range<usize>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |at: usize| {
        !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word) && !word.is_empty()
    };
    let (at, _) = text.get(..end)?.rmatch_indices(word).find(|&(at, _)| whole(at))?;
    Some(at..at + word.len())
}

/// What stands at the error: `ron` answers the cursor before the token or after it.
fn token(text: &str, start: usize, end: usize) -> Range<usize> {
    let between = text.get(start..end).unwrap_or_default();
    if !between.trim().is_empty() {
        let from = start + between.len() - between.trim_start().len();
        return from..from + between.trim().len();
    }
    let rest = text.get(end..).unwrap_or_default();
    let from = end + rest.len() - rest.trim_start().len();
    let ends = |c: char| c.is_whitespace() || ",:()[]{}".contains(c);
    let token = text.get(from..).unwrap_or_default();
    let width = token.find(ends).unwrap_or(token.len()).max(token.chars().next().map_or(0, char::len_utf8));
    from..from + width
}

fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
