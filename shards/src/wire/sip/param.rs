//! `;name=value` parameters.

use crate::wire::{Span, text};

/// One parameter of a URI or of a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: Span,
    /// Its value, quotes included; `None` when there is no `=`.
    pub value: Option<Span>,
    /// From the `;` to the end of the value.
    pub span: Span,
}

/// The parameters in `span`, which starts at its first `;` or is empty. Semicolons within quotes and `<>` do not
/// separate. Empty parameters (`;;`) are passed over.
pub fn params(bytes: &[u8], span: Span) -> impl Iterator<Item = Param> + '_ {
    let mut rest = span;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let inner = Span::new(rest.start + 1, rest.end);
            let end = text::find_top(bytes, inner, |b| b == b';').unwrap_or(rest.end);
            let param = param(bytes, Span::new(rest.start, end));
            rest = Span::new(end, rest.end);
            if param.is_some() {
                return param;
            }
        }
    })
}

/// The first parameter in `span` that is called `name`, in any case.
pub(super) fn find(bytes: &[u8], span: Span, name: &[u8]) -> Option<Param> {
    params(bytes, span).find(|p| p.name.of(bytes).eq_ignore_ascii_case(name))
}

/// Reads `;name[=value]`; `None` when there is no name.
fn param(bytes: &[u8], span: Span) -> Option<Param> {
    let inner = text::trim(bytes, Span::new(span.start + 1, span.end));
    let equals = text::find_octet(bytes, inner, b'=');
    let name = text::trim(bytes, Span::new(inner.start, equals.unwrap_or(inner.end)));
    let value = equals.map(|at| text::trim(bytes, Span::new(at + 1, inner.end)));
    (!name.is_empty()).then_some(Param { name, value, span: Span::new(span.start, inner.end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, value and whole of each parameter.
    fn texts(text: &str) -> Vec<(&str, Option<&str>, &str)> {
        let of = |span: Span| &text[span.start..span.end];
        let all = params(text.as_bytes(), Span::new(0, text.len()));
        all.map(|p| (of(p.name), p.value.map(of), of(p.span))).collect()
    }

    #[test]
    fn names_values_and_spans_are_found() {
        let expected =
            [("lr", None, ";lr"), ("tag", Some("a1"), "; tag = a1"), ("x", Some("\"a;b\""), ";x=\"a;b\"")];
        assert_eq!(texts(";lr; tag = a1 ;;x=\"a;b\" ;"), expected);
    }

    #[test]
    fn a_value_may_be_empty_or_absent() {
        assert_eq!(texts(";rport="), [("rport", Some(""), ";rport=")]);
        assert!(texts(";=x").is_empty() && texts("").is_empty());
    }
}
