//! What is wrong with a configuration, shown the way a compiler shows it.

use super::place::Source;
use std::fmt;
use std::ops::Range;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used, and the operator should look at it.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where; `None` when the file itself could not be read.
    pub place: Option<Place>,
    /// How to mend it.
    pub hint: Option<String>,
}

/// A place in a configuration file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// Characters to underline; at least 1, never beyond the line.
    pub width: usize,
    /// The line's text.
    pub snippet: String,
}

impl Place {
    /// The place of these octets in a text; only the first line is shown.
    pub(super) fn new(source: &Source, span: Range<usize>) -> Self {
        let text = &source.text;
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor(text, span.end).clamp(start, line_end);
        Self {
            file: source.name.clone(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].trim_end().chars().count().max(1),
            snippet: text[line_start..line_end].trim_end().to_owned(),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        let margin = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        if let Some(place) = &self.place {
            write!(f, "\n{:margin$}--> {}:{}:{}", "", place.file, place.line, place.column)?;
            write!(f, "\n{:margin$} |\n{} | {}", "", place.line, place.snippet.replace('\t', " "))?;
            write!(
                f,
                "\n{:margin$} | {:indent$}{:^<width$}",
                "",
                "",
                "",
                indent = place.column - 1,
                width = place.width
            )?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{:margin$} = hint: {hint}", ""),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a configuration: at least one error, and the warnings found on the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(pub Vec<Problem>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_with_a_caret_and_a_hint() {
        let source = Source::new("a.ron", "(\n    é: \"x\",\n)".to_owned());
        let at = source.text.find("\"x\"").expect("it is there");
        let problem = Problem {
            severity: Severity::Error,
            message: "no".to_owned(),
            place: Some(Place::new(&source, at..at + 3)),
            hint: Some("yes".to_owned()),
        };
        let shown = "error: no\n --> a.ron:2:8\n  |\n2 |     é: \"x\",\n  |        ^^^\n  = hint: yes";
        assert_eq!(problem.to_string(), shown);
    }

    #[test]
    fn a_span_of_many_lines_underlines_the_first() {
        let source = Source::new("a", "(\n  b: (\n  ),\n)".to_owned());
        let place = Place::new(&source, 7..12);
        assert_eq!((place.line, place.column, place.width), (2, 6, 1));
    }

    #[test]
    fn a_span_outside_the_text_is_its_end() {
        let source = Source::new("a", "é".to_owned());
        let place = Place::new(&source, 1..900);
        assert_eq!((place.line, place.column, place.width), (1, 1, 1));
    }
}
