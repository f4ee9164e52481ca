//! The house keeps its shape: floors, limits of size, and what may not stay behind, checked over the sources as text.

mod arrows;
mod functions;
mod leftovers;
mod pages;
mod source;
mod unsafe_blocks;
mod world;

use source::{Source, read};

/// No function is longer.
const MAX_FUNCTION: usize = 70;
/// No file is longer.
const MAX_FILE: usize = 600;
/// Half of all functions are shorter. A ratchet: it only goes down.
const MEDIAN_FUNCTION: usize = 10;

/// Fail with all offences at once.
#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn arrows_point_down() {
    none(&read(&["shards/src"]).iter().flat_map(arrows::upward).collect::<Vec<_>>());
}

#[test]
fn shards_touch_nothing_of_the_world() {
    none(&read(&["shards/src"]).iter().flat_map(world::touched).collect::<Vec<_>>());
}

#[test]
fn shards_depend_on_nothing_that_touches_the_world() {
    none(&world::dependencies(&source::text("shards/Cargo.toml")));
}

#[test]
fn glommio_is_confined_to_the_runtime_and_io() {
    let sources = read(&["src", "loadgen/src", "tests", "benches"]);
    let uses = |s: &&Source| source::word(&s.code, "glommio").is_some();
    let outside = |s: &&Source| !s.path.starts_with("src/io/") && !s.path.starts_with("src/runtime/");
    none(&sources.iter().filter(uses).filter(outside).map(|s| s.path.clone()).collect::<Vec<_>>());
}

#[test]
fn unsafe_stays_in_io_with_its_reason() {
    none(&read(source::RUST).iter().flat_map(unsafe_blocks::unexplained).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let long = |s: &Source| {
        let lines = s.text.lines().count();
        (lines > MAX_FILE).then(|| format!("{}: {lines} lines, at most {MAX_FILE}", s.path))
    };
    none(&read(source::RUST).iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn no_function_is_too_long() {
    let long = |s: &Source| functions::longer_than(s, MAX_FUNCTION);
    none(&read(source::RUST).iter().flat_map(long).collect::<Vec<_>>());
}

#[test]
fn most_functions_are_short() {
    for package in ["src", "shards/src", "loadgen/src"] {
        let median = functions::median(&read(&[package]));
        assert!(median < MEDIAN_FUNCTION, "{package}: the median function has {median} lines");
    }
}

#[test]
fn nothing_unfinished_stays_behind() {
    none(&read(source::ALL).iter().flat_map(leftovers::found).collect::<Vec<_>>());
}

#[test]
fn every_wire_file_is_fuzzed() {
    let unfuzzed =
        |module: String| (!leftovers::fuzzed(&module)).then(|| format!("wire/{module} has no fuzz target"));
    none(&source::modules("shards/src/wire").into_iter().filter_map(unfuzzed).collect::<Vec<_>>());
}

#[test]
fn every_example_configuration_is_held_by_a_test() {
    let tests: String = read(&["tests"]).into_iter().map(|s| s.text).collect();
    let unheld = |path: &String| !tests.contains(path.rsplit('/').next().unwrap_or(path));
    none(&source::files("config").into_iter().filter(unheld).collect::<Vec<_>>());
}

#[test]
fn pages_name_only_files_that_exist() {
    none(&read(source::PAGES).iter().flat_map(pages::missing_files).collect::<Vec<_>>());
}

#[test]
fn the_operators_page_explains_every_drop_and_every_figure() {
    none(&pages::unexplained_figures());
}
