//! Files that a runtime opens are closed when it has stopped. Alone in its process, because it counts them.
#![allow(clippy::unwrap_used)]

mod common;

use common::start;

/// What the process's open files are, but for event files: glommio 0.9 keeps one for each executor that ever ran.
fn open_files() -> (Vec<String>, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let names = targets.map(|target| target.display().to_string());
    let (events, mut others): (Vec<_>, Vec<_>) = names.partition(|name| name.contains("eventfd"));
    others.sort();
    (others, events.len())
}

#[test]
fn all_files_are_closed_after_stop() {
    // The first start opens what the process keeps.
    start("127.0.51.1", 1).stop().unwrap();
    let (files, mut events) = open_files();
    for shards in [1, 2, 8] {
        start("127.0.51.1", shards).stop().unwrap();
        events += usize::from(shards);
        assert_eq!(open_files(), (files.clone(), events), "{shards} shards");
    }
}
