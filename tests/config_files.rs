//! Configurations as files: fragments, generations, what a reload may not change.

use portolan::mapping::{Errors, Loader, Machine};
use portolan_shards::types::RealmId;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const MAIN: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "127.0.1.1", sip: [Udp(5060)], media: (16384, 32767)),
        "core": (side: Core, address: "127.0.2.1", sip: [Udp(5060)], per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { "sx": (realm: "core", targets: ["127.0.3.1:5060"]) },
    mappings: [(access: "access", softswitch: "sx")],
)"#;

struct Files {
    directory: TempDir,
    loader: Loader,
}

impl Files {
    fn new(main: &str) -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory"),
            loader: Loader::new(Machine::with_cores(2)),
        };
        files.write("portolan.ron", main);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn load(&mut self) -> Result<portolan::mapping::Loaded, Errors> {
        self.loader.load(&self.path("portolan.ron"))
    }

    /// Load it and let it run.
    fn run(&mut self) -> portolan::mapping::Loaded {
        let loaded = self.load().unwrap_or_else(|errors| panic!("{errors}"));
        self.loader.accept(&loaded);
        loaded
    }
}

/// `file:line` of each problem and its message.
fn shown(errors: &Errors) -> Vec<String> {
    let place = |problem: &portolan::mapping::Problem| {
        problem.place.as_ref().map_or_else(String::new, |place| {
            let name = place.file.rsplit('/').next().unwrap_or_default();
            format!("{name}:{}:{} ", place.line, place.column)
        })
    };
    errors.0.iter().map(|problem| format!("{}{}", place(problem), problem.message)).collect()
}

#[test]
fn fragments_add_realms_softswitches_and_mappings() {
    let mut files = Files::new(MAIN);
    files.write(
        "conf.d/20-more.ron",
        r#"(realms: { "b": (side: Access, address: "127.0.1.2", sip: [Udp(5060)], media: (16384, 32767)) },
            mappings: [(access: "b", softswitch: "sy")])"#,
    );
    files.write(
        "conf.d/10-peer.ron",
        r#"(softswitches: { "sy": (realm: "core", targets: ["127.0.3.2:5060"]) })"#,
    );
    files.write("conf.d/notes.txt", "not a configuration");
    let loaded = files.run();
    assert_eq!(loaded.mapping.realms.len(), 3);
    assert_eq!(loaded.mapping.route(RealmId(2), "x").map(|(_, s)| s.name.as_str()), Some("sy"));
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn mistakes_in_fragments_name_the_fragment() {
    let mut files = Files::new(MAIN);
    files.write("conf.d/a.ron", "(\n  shards: Auto,\n)");
    files.write("conf.d/b.ron", "(\n  realms: 7\n)");
    let errors = files.load().expect_err("both are wrong");
    assert_eq!(
        shown(&errors),
        ["a.ron:2:3 unknown field `shards` in Portolan", "b.ron:2:11 expected opening `{`"]
    );
}

#[test]
fn a_realm_of_the_main_file_and_of_a_fragment_may_not_have_one_name() {
    let mut files = Files::new(MAIN);
    let again =
        r#"(realms: { "core": (side: Core, address: "127.0.2.2", per_shard: 6000, media: (16384, 32767)) })"#;
    files.write("conf.d/a.ron", again);
    let errors = files.load().expect_err("a duplicate");
    assert_eq!(shown(&errors), ["a.ron:1:12 there are two of the realm \"core\""]);
}

#[test]
fn a_missing_file_is_told_by_name() {
    let mut files = Files::new(MAIN);
    fs::remove_file(files.path("portolan.ron")).expect("it is there");
    let errors = files.load().expect_err("nothing to load");
    assert!(errors.to_string().starts_with("error: cannot read "), "{errors}");
}

#[test]
fn realm_numbers_stay_over_reloads_until_the_realm_changes() {
    let mut files = Files::new(MAIN);
    let ids =
        |loaded: &portolan::mapping::Loaded| loaded.mapping.realms.iter().map(|r| r.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&files.run()), [0, 1]);
    files.write("portolan.ron", &MAIN.replace("5060)], media", "5070)], media"));
    assert_eq!(ids(&files.run()), [0, 1], "a listener is not the realm's identity");
    files.write("portolan.ron", &MAIN.replace("127.0.1.1", "127.0.1.9"));
    assert_eq!(ids(&files.run()), [2, 1], "another address is another realm");
    files.write("portolan.ron", MAIN);
    assert_eq!(ids(&files.run()), [0, 1]);
}

#[test]
fn generations_count_and_the_secret_stays() {
    let mut files = Files::new(MAIN);
    let first = files.run();
    let second = files.run();
    assert_eq!((first.mapping.generation, second.mapping.generation), (1, 2));
    assert_eq!(first.mapping.secret, second.mapping.secret);
    assert_ne!(first.mapping.secret, Files::new(MAIN).run().mapping.secret, "random at each start");
}

#[test]
fn a_reload_may_not_change_how_a_running_realm_shows_call_ids() {
    let mut files = Files::new(MAIN);
    files.run();
    files.write("portolan.ron", &MAIN.replacen("side: Access,", "side: Access, mask_call_id: true,", 1));
    let errors = files.load().expect_err("running calls would be lost");
    let shown = shown(&errors).join("\n");
    assert!(shown.contains("a change of `mask_call_id` of \"access\" needs a restart"), "{shown}");
}

#[test]
fn a_reload_may_not_change_shards_secret_or_admin_address() {
    let mut files = Files::new(MAIN);
    files.run();
    let secret = "ab".repeat(32);
    let changed = format!("shards: Count(1), secret: \"{secret}\", admin: (listen: None),");
    files.write("portolan.ron", &MAIN.replace("shards: Count(2),", &changed));
    let errors = files.load().expect_err("none of these");
    assert_eq!(
        shown(&errors),
        [
            "portolan.ron:2:13 a change of shards needs a restart: 2 now, on cores [0, 1]",
            "portolan.ron:2:31 a change of the secret needs a restart",
            "portolan.ron:2:115 a change of the admin address needs a restart",
        ]
    );
}
