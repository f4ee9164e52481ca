//! Which module may name which: arrows point down only.

use crate::source::{Source, is_word};

/// The words that every floor shares.
const FLOOR_1: &[&str] =
    &["types", "fault", "limits", "io", "realm", "stats", "timer", "random", "table", "histogram", "wire"];

/// What the files of a module of `shards` may name of the crate; `None` means anything.
fn below(module: &str) -> Option<Vec<&'static str>> {
    let also = |more: &[&'static str]| Some([FLOOR_1, more].concat());
    match module {
        "wire" => Some(vec!["wire", "fault", "limits"]),
        "fault" | "limits" => Some(Vec::new()),
        "media" => also(&["media"]),
        "policy" => also(&["policy"]),
        "session" => also(&["session", "media"]),
        "signaling" => also(&["signaling", "session", "media", "policy"]),
        "shard" => also(&["signaling", "session", "media", "policy"]),
        "sim" | "lib" => None,
        _ => also(&[]),
    }
}

/// Paths that point up.
pub(crate) fn upward(source: &Source) -> Vec<String> {
    let module = source.path.trim_start_matches("shards/src/").trim_end_matches(".rs");
    let top = module.split('/').next().unwrap_or(module);
    let Some(allowed) = below(top) else { return Vec::new() };
    let named = paths(source, depth(module));
    let up = named.into_iter().filter(|(_, name)| !allowed.contains(name));
    let offence =
        |(at, name): (usize, &str)| source.offence(at, &format!("{top} may not name crate::{name}"));
    up.map(offence).collect()
}

/// How many `super::` lead from this file to the root.
fn depth(module: &str) -> usize {
    module.trim_end_matches("/mod").split('/').count()
}

/// Every module at the crate's root that the file names, and where.
fn paths(source: &Source, depth: usize) -> Vec<(usize, &str)> {
    let code = source.code.as_str();
    let absolute = code.match_indices("crate::").map(|(at, found)| (at, at + found.len()));
    let chains = |levels: usize| {
        let chain = "super::".repeat(levels);
        let ends: Vec<_> = code.match_indices(&chain).map(|(at, _)| (at, at + chain.len())).collect();
        ends.into_iter()
            .filter(|(at, end)| !code[..*at].ends_with("super::") && !code[*end..].starts_with("super::"))
    };
    let tests = source.tests_at();
    let plain = chains(depth).filter(|(at, _)| *at < tests);
    let tested = chains(depth + 1).filter(|(at, _)| *at >= tests);
    absolute
        .chain(plain)
        .chain(tested)
        .flat_map(|(at, end)| names(&code[end..]).map(move |n| (at, n)))
        .collect()
}

/// The name here, or all first names of a group in braces.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let name = |code: &'_ str| code.bytes().take_while(|&octet| is_word(octet)).count();
    let group = code.strip_prefix('{').map(|rest| &rest[..rest.find('}').unwrap_or(rest.len())]);
    let parts: Vec<&str> =
        group.map_or_else(|| vec![code], |group| group.split(',').map(str::trim).collect());
    parts.into_iter().map(move |part| &part[..name(part)]).filter(|name| !name.is_empty())
}

#[test]
fn an_arrow_up_is_seen() {
    let text =
        "use crate::{types, shard};\nuse super::super::signaling::Cx;\n// crate::sim\nuse crate::wire::Span;";
    let found = upward(&Source::new("shards/src/media/latch.rs".into(), text.into()));
    assert_eq!(found.len(), 2, "{found:?}");
}
