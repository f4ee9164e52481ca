//! `portolan run` as a process: reloads by signal and by file, drains, ends.

mod zone;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zone::Zone;

/// Patience with a busy machine; every wait ends as soon as what it waits for is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Portolan with addresses of its own.
struct Process {
    directory: TempDir,
    child: Child,
    net: u8,
}

impl Process {
    /// Start it on 127.0.`net`.x, and wait until it takes calls.
    fn start(net: u8, options: &[&str]) -> Self {
        let process = Self::spawn(net, options, &text(net));
        process.until("it is ready", || process.get("/ready").is_some_and(|answer| answer.contains(" 200 ")));
        process
    }

    fn spawn(net: u8, options: &[&str], text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("portolan.ron");
        fs::write(&file, text).expect("a file");
        let log = File::create(directory.path().join("log")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("run").arg("-f").arg(&file).args(options).stderr(log);
        Self { directory, child: command.spawn().expect("it starts"), net }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("portolan.ron")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// The whole answer of the admin listener.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(format!("127.0.{}.1:9060", self.net)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn has_metric(&self, line: &str) -> bool {
        self.get("/metrics").is_some_and(|answer| answer.lines().any(|l| l == line))
    }

    fn until(&self, what: &str, is_true: impl Fn() -> bool) {
        let since = Instant::now();
        while !is_true() {
            assert!(since.elapsed() < PATIENCE, "{what} never came true\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    fn until_metric(&self, line: &str) {
        self.until(line, || self.has_metric(line));
    }

    fn end(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Begin a call that is never answered: it stays open.
    fn call(&self) -> (UdpSocket, UdpSocket) {
        let net = self.net;
        let softswitch = UdpSocket::bind(format!("127.0.{net}.3:5060")).expect("free");
        let terminal = UdpSocket::bind(format!("127.0.{net}.4:5060")).expect("free");
        softswitch.set_read_timeout(Some(PATIENCE)).expect("set");
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.{net}.4\r\ns=-\r\nc=IN IP4 127.0.{net}.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
        );
        let invite = format!(
            "INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.{net}.4:5060;branch=z9hG4bK1;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=1\r\nTo: <sip:bob@example.net>\r\n\
             Call-ID: one\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@127.0.{net}.4:5060>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        terminal.send_to(invite.as_bytes(), format!("127.0.{net}.1:5060")).expect("sent");
        let length = softswitch.recv(&mut [0; 4096]).expect("the INVITE arrives at the softswitch");
        assert!(length > 0);
        (softswitch, terminal)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(net: u8) -> String {
    format!(
        r#"(
    shards: Count(2),
    realms: {{
        "access": (side: Access, address: "127.0.{net}.1", sip: [Udp(5060)], media: (20480, 21503)),
        "core": (side: Core, address: "127.0.{net}.2", sip: [Udp(5060)], per_shard: 6000, media: (20480, 21503)),
    }},
    softswitches: {{ "sx": (realm: "core", targets: ["127.0.{net}.3:5060"]) }},
    mappings: [(access: "access", softswitch: "sx")],
    admin: (listen: "127.0.{net}.1:9060"),
)"#
    )
}

#[test]
fn hup_reloads() {
    let process = Process::start(91, &[]);
    process.signal("HUP");
    process.until_metric("portolan_reloads_total{result=\"unchanged\"} 1");
    assert!(process.has_metric("portolan_config_generation 1"));
}

#[test]
fn a_changed_file_is_loaded_and_told() {
    let process = Process::start(92, &[]);
    fs::write(
        process.file(),
        text(92).replace("sip: [Udp(5060)], media", "sip: [Udp(5060), Udp(5070)], media"),
    )
    .expect("written");
    process.until_metric("portolan_config_generation 2");
    assert!(process.log().contains("realm \"access\" changed: sip"), "{}", process.log());
    let terminal = UdpSocket::bind("127.0.92.4:5060").expect("free");
    terminal.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    let options = "OPTIONS sip:127.0.92.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.92.4:5060;branch=z9hG4bK1;rport\r\n\
        Max-Forwards: 0\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let answers = || {
        terminal.send_to(options.as_bytes(), "127.0.92.1:5070").is_ok()
            && terminal.recv(&mut [0; 4096]).is_ok()
    };
    process.until("the new listener answers", answers);
}

#[test]
fn a_file_replaced_by_renaming_is_loaded() {
    let process = Process::start(93, &[]);
    let fresh = process.directory.path().join("portolan.ron.new");
    fs::write(&fresh, text(93).replace("admin:", "keepalive: (misses: 7), admin:")).expect("written");
    fs::rename(&fresh, process.file()).expect("renamed");
    process.until_metric("portolan_config_generation 2");
}

#[test]
fn a_mistake_is_told_with_its_place_and_changes_nothing() {
    let process = Process::start(94, &[]);
    fs::write(process.file(), text(94).replace("127.0.94.3:5060", "127.0.94.3")).expect("written");
    process.until_metric("portolan_reloads_total{result=\"refused\"} 1");
    assert!(process.has_metric("portolan_config_generation 1"));
    let place = format!("{}:7:53", process.file().display());
    assert!(process.log().contains(&place), "{}", process.log());
    fs::write(process.file(), text(94).replace("127.0.94.3:5060", "127.0.94.5:5060")).expect("written");
    process.until_metric("portolan_config_generation 2");
}

#[test]
fn term_without_calls_ends_at_once_and_well() {
    let mut process = Process::start(95, &[]);
    process.signal("TERM");
    assert_eq!(process.end().code(), Some(0));
    assert!(process.log().contains("drained"), "{}", process.log());
}

#[test]
fn term_waits_for_calls_and_a_second_one_does_not() {
    let mut process = Process::start(96, &["--drain-seconds", "3600"]);
    let _peers = process.call();
    process.signal("TERM");
    process
        .until("it is not ready", || process.get("/ready").is_some_and(|answer| answer.contains("draining")));
    process.until("it waits", || process.log().contains("draining; TERM again ends now"));
    assert!(process.child.try_wait().expect("it is our child").is_none());
    process.signal("TERM");
    assert_eq!(process.end().code(), Some(0));
    assert!(process.log().contains("told to end now"), "{}", process.log());
}

#[test]
fn a_drain_is_bounded() {
    let mut process = Process::start(97, &["--drain-seconds", "1"]);
    let _peers = process.call();
    process.signal("TERM");
    assert_eq!(process.end().code(), Some(0));
    assert!(process.log().contains("the time to drain is over"), "{}", process.log());
}

#[test]
fn an_address_of_another_machine_ends_with_1() {
    let mut process = Process::spawn(98, &[], &text(98).replace("127.0.98.2", "192.0.2.1"));
    assert_eq!(process.end().code(), Some(1));
    assert!(process.log().contains("192.0.2.1"), "{}", process.log());
}

#[test]
fn a_bad_configuration_ends_with_1() {
    let mut process = Process::spawn(99, &[], "(shards: Aut)");
    assert_eq!(process.end().code(), Some(1));
    assert!(process.log().contains(":1:10"), "{}", process.log());
}

#[test]
fn a_fragment_in_a_directory_made_later_is_loaded() {
    let process = Process::start(101, &[]);
    let fragments = process.directory.path().join("conf.d");
    fs::create_dir(&fragments).expect("made");
    process.until_metric("portolan_reloads_total{result=\"unchanged\"} 1");
    let realm = r#"(realms: { "b": (side: Access, address: "127.0.101.9", sip: [Udp(5060)], media: (20480, 21503)) })"#;
    fs::write(fragments.join("b.ron"), realm).expect("written");
    process.until_metric("portolan_config_generation 2");
    assert!(process.log().contains("realm \"b\" added"), "{}", process.log());
}

/// A configuration whose softswitch has a name.
fn named(net: u8, zone: &Zone) -> String {
    let target = format!("127.0.{net}.3:5060");
    let dns = format!("dns: (servers: [\"{}\"]), admin:", zone.address);
    text(net).replace(&target, "sip:sx.example:5060").replace("admin:", &dns)
}

#[test]
fn the_process_follows_a_name() {
    let zone = Zone::new();
    zone.a("sx.example", "127.0.102.3", 1);
    let process = Process::spawn(102, &[], &named(102, &zone));
    process.until_metric("portolan_ready 1");
    let reached = |address: &str| process.get("/config").is_some_and(|answer| answer.contains(address));
    assert!(reached("127.0.102.3:5060"), "{}", process.log());
    let generation = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("portolan_config_generation "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).expect("a generation")
    };
    let before = generation(&process.get("/metrics").expect("metrics"));
    zone.clear();
    zone.a("sx.example", "127.0.102.4", 1);
    process.until("the new address is used", || reached("127.0.102.4:5060"));
    assert_eq!(generation(&process.get("/metrics").expect("metrics")), before + 1);
    assert!(process.has_metric("portolan_reloads_total{result=\"applied\"} 0"), "it is no reload");
}

#[test]
fn a_name_that_nobody_knows_does_not_hold_up_the_start() {
    let zone = Zone::new();
    zone.mute();
    let process = Process::spawn(103, &[], &named(103, &zone));
    process.until_metric("portolan_ready 1");
    assert!(process.has_metric("portolan_config_generation 1"));
}

/// A certificate and its key for a name, written beside the configuration.
fn certify(directory: &std::path::Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    fs::write(directory.join("chain.pem"), made.cert.pem()).expect("written");
}

fn secured(net: u8) -> String {
    let tls = "sip: [Udp(5060), Tls(5061)], tls: (certificate: \"chain.pem\", key: \"key.pem\", roots: \"chain.pem\"), media";
    text(net).replacen("sip: [Udp(5060)], media", tls, 1)
}

#[test]
fn certificates_are_loaded_again_and_bad_ones_refused() {
    let process = Process::start(104, &[]);
    certify(process.directory.path(), "a.example");
    fs::write(process.file(), secured(104)).expect("written");
    process.until("the certificate is told", || {
        process
            .get("/metrics")
            .is_some_and(|m| m.contains("portolan_tls_certificate_expiry_seconds{realm=\"access\""))
    });
    process.until_metric("portolan_config_generation 2");
    fs::write(process.directory.path().join("chain.pem"), "no certificate").expect("written");
    process.until("it is refused", || process.log().contains("reload refused, generation 2 stays"));
    let told = format!("tls of realm \"access\": {}", process.directory.path().join("chain.pem").display());
    assert!(process.log().contains(&told), "{}", process.log());
    certify(process.directory.path(), "b.example");
    process.until("the new one runs", || process.log().contains("chain.pem changed"));
}

#[test]
fn a_missing_certificate_ends_with_1() {
    let mut process = Process::spawn(105, &[], &secured(105));
    assert_eq!(process.end().code(), Some(1));
    assert!(process.log().contains("chain.pem"), "{}", process.log());
}
