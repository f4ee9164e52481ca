//! The pages stay true: they name files that exist, and the operators' page names every figure.

use crate::source::{Source, exists, text};
use portolan_shards::io::DropReason;

/// Where paths of the repository begin.
const PLACES: &[&str] =
    &["src/", "shards/", "loadgen/", "tests/", "benches/", "fuzz/", "scripts/", "config/", "docs/", ".ci/"];

/// Paths in backquotes that lead nowhere.
pub(crate) fn missing_files(page: &Source) -> Vec<String> {
    let quoted = page.text.split('`').skip(1).step_by(2);
    let paths = quoted.map(|path| path.trim_start_matches("./")).filter(|path| is_path(path));
    paths.filter(|path| !exists(path)).map(|path| format!("{}: there is no {path}", page.path)).collect()
}

fn is_path(text: &str) -> bool {
    PLACES.iter().any(|place| text.starts_with(place)) && !text.contains([' ', '*', '{', '<', '\n'])
}

/// Drop reasons and metrics that `docs/OPERATIONS.md` does not name.
pub(crate) fn unexplained_figures() -> Vec<String> {
    let page = text("docs/OPERATIONS.md");
    let reasons = DropReason::ALL.iter().map(|reason| reason.label().to_owned());
    let named =
        |name: &String| page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}_total`"));
    let unnamed = reasons.chain(metrics()).filter(|name| !named(name));
    unnamed.map(|name| format!("docs/OPERATIONS.md does not explain `{name}`")).collect()
}

/// The families that the scrape writes: every quoted name that begins with `portolan_`.
fn metrics() -> Vec<String> {
    let source = text("src/admin/metrics.rs");
    let quoted = source.split('"').skip(1).step_by(2);
    quoted.filter(|name| name.starts_with("portolan_")).map(str::to_owned).collect()
}
