//! Reload: the whole new generation or none.

mod control;

use control::Recorder;
use portolan::control::{Control, Reloads};
use portolan::mapping::{Loader, Machine};
use portolan::reload::{Outcome, Reloader};
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const MAIN: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "127.0.81.1", sip: [Udp(5060)], media: (16384, 32767)),
        "core": (side: Core, address: "127.0.81.2", sip: [Udp(5060)], per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { "sx": (realm: "core", targets: ["127.0.81.3:5060"]) },
    mappings: [(access: "access", softswitch: "sx")],
)"#;

struct Running {
    _directory: TempDir,
    file: PathBuf,
    reloader: Reloader,
    control: Arc<Control>,
    shards: Recorder,
}

impl Running {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("portolan.ron");
        fs::write(&file, MAIN).expect("a file");
        let mut loader = Loader::new(Machine::with_cores(2));
        let loaded = loader.load(&file).unwrap_or_else(|errors| panic!("{errors}"));
        loader.accept(&loaded);
        let (control, shards) = control::started(loaded);
        let reloader = Reloader::new(loader, file.clone(), Arc::clone(&control));
        Self { _directory: directory, file, reloader, control, shards }
    }

    fn reload(&mut self, text: &str) -> Outcome {
        fs::write(&self.file, text).expect("a file");
        self.reloader.reload()
    }

    fn told(&self) -> usize {
        self.shards.0.lock().expect("no test panics in there").len()
    }
}

#[test]
fn a_sound_change_runs_and_its_difference_is_told() {
    let mut running = Running::new();
    let text = MAIN
        .replace("5060)], media", "5070)], media")
        .replace("mappings:", "keepalive: (misses: 5), mappings:")
        .replace("127.0.81.3:5060\"]", "127.0.81.4:5060\"], domain: \"a.example\"");
    assert_eq!(
        running.reload(&text),
        Outcome::Applied(vec![
            "realm \"access\" changed: sip udp/5060 -> udp/5070".to_owned(),
            "softswitch \"sx\" changed: targets [127.0.81.3:5060] -> [127.0.81.4:5060], \
             domain None -> Some(\"a.example\")"
                .to_owned(),
            "keepalive changed: interval 25 s, misses 3 -> interval 25 s, misses 5".to_owned(),
        ])
    );
    assert_eq!(running.told(), 1);
    assert_eq!(running.control.loaded().mapping.generation, 2);
    assert_eq!(running.control.reloads(), Reloads { applied: 1, ..Reloads::default() });
}

#[test]
fn realms_come_and_go() {
    let mut running = Running::new();
    let more = MAIN.replace(
        "    },\n    soft",
        "\"b\": (side: Access, address: \"127.0.81.9\", sip: [Udp(5060)], media: (16384, 32767)) },\n    soft",
    );
    assert_eq!(running.reload(&more), Outcome::Applied(vec!["realm \"b\" added".to_owned()]));
    assert_eq!(running.reload(MAIN), Outcome::Applied(vec!["realm \"b\" removed".to_owned()]));
    assert_eq!(running.control.loaded().mapping.generation, 3);
}

#[test]
fn the_same_files_change_nothing() {
    let mut running = Running::new();
    assert_eq!(running.reload(&format!("// a comment\n{MAIN}")), Outcome::Unchanged);
    assert_eq!(running.told(), 0);
    assert_eq!(running.control.loaded().mapping.generation, 1);
    assert_eq!(running.control.reloads(), Reloads { unchanged: 1, ..Reloads::default() });
}

#[test]
fn a_mistake_keeps_the_running_generation_and_tells_its_place() {
    let mut running = Running::new();
    let Outcome::Refused(why) = running.reload(&MAIN.replace("side: Core", "side: Cor")) else {
        panic!("it is wrong");
    };
    assert!(why.contains("portolan.ron:5:24"), "{why}");
    assert_eq!(running.told(), 0);
    assert_eq!(running.control.loaded().mapping.generation, 1);
    assert_eq!(running.control.reloads(), Reloads { refused: 1, ..Reloads::default() });
}

#[test]
fn an_address_in_use_keeps_the_running_generation() {
    let mut running = Running::new();
    let taken = UdpSocket::bind("127.0.81.1:5099").expect("a free port");
    let Outcome::Refused(why) = running.reload(&MAIN.replace("5060)], media", "5060), Udp(5099)], media"))
    else {
        panic!("it is taken");
    };
    assert!(why.contains("cannot listen on 127.0.81.1:5099"), "{why}");
    assert_eq!(running.control.loaded().mapping.generation, 1);
    drop(taken);
    assert!(matches!(running.reloader.reload(), Outcome::Applied(_)));
}

#[test]
fn an_address_of_another_machine_keeps_the_running_generation() {
    let mut running = Running::new();
    let Outcome::Refused(why) = running.reload(&MAIN.replace("127.0.81.1", "192.0.2.1")) else {
        panic!("it is not ours");
    };
    assert!(why.contains("cannot listen on 192.0.2.1:5060"), "{why}");
}

#[test]
fn nothing_is_reloaded_while_draining() {
    let mut running = Running::new();
    running.control.enter(portolan::control::Phase::Draining);
    assert!(matches!(running.reload(&MAIN.replace("5060)], media", "5070)], media")), Outcome::Refused(_)));
    assert_eq!(running.told(), 0);
}
