//! The main file and its `conf.d` fragments become one list of each kind, every item with its place.

use super::place::{At, Source};
use super::problem::Problem;
use super::raw::{Entries, RawFile, RawFragment, RawMapping, RawRealm, RawSoftswitch};
use super::syntax;

/// A named part of the configuration and where it stands.
pub(super) struct Item<'a, T> {
    /// Empty for mappings, which have no name.
    pub(super) name: String,
    pub(super) raw: T,
    pub(super) at: At<'a>,
}

/// All files as one.
pub(super) struct Merged<'a> {
    /// The main file, for what fragments cannot hold; its realms, softswitches and mappings moved out.
    pub(super) main: RawFile,
    /// The place of the main file.
    pub(super) root: At<'a>,
    pub(super) realms: Vec<Item<'a, RawRealm>>,
    pub(super) softswitches: Vec<Item<'a, RawSoftswitch>>,
    pub(super) mappings: Vec<Item<'a, RawMapping>>,
}

/// Parse all texts. The first is the main file. Every file with a syntax error gives one problem.
pub(super) fn merge<'a>(main: &'a Source, fragments: &'a [Source]) -> Result<Merged<'a>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut file: RawFile = keep(syntax::parse(main), &mut problems);
    let first = RawFragment {
        realms: std::mem::take(&mut file.realms),
        softswitches: std::mem::take(&mut file.softswitches),
        mappings: std::mem::take(&mut file.mappings),
    };
    let root = main.root();
    let mut merged =
        Merged { main: file, root, realms: Vec::new(), softswitches: Vec::new(), mappings: Vec::new() };
    merged.add(first, root);
    for source in fragments {
        merged.add(keep(syntax::parse(source), &mut problems), source.root());
    }
    if problems.is_empty() { Ok(merged) } else { Err(problems) }
}

fn keep<T: Default>(parsed: Result<T, Box<Problem>>, problems: &mut Vec<Problem>) -> T {
    parsed.unwrap_or_else(|problem| {
        problems.push(*problem);
        T::default()
    })
}

impl<'a> Merged<'a> {
    fn add(&mut self, fragment: RawFragment, root: At<'a>) {
        self.realms.extend(items(fragment.realms, root.field("realms")));
        self.softswitches.extend(items(fragment.softswitches, root.field("softswitches")));
        let mappings = Entries(fragment.mappings.into_iter().map(|raw| (String::new(), raw)).collect());
        self.mappings.extend(items(mappings, root.field("mappings")));
    }
}

fn items<'a, T>(entries: Entries<T>, at: At<'a>) -> impl Iterator<Item = Item<'a, T>> {
    entries.0.into_iter().enumerate().map(move |(index, (name, raw))| Item { name, raw, at: at.nth(index) })
}
