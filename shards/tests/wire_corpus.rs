//! Recorded and published messages, read where a corpus is present beside the repository: RFC 4475's torture tests and
//! their verdicts, and two independent parsers as oracles wherever these succeed.

#[path = "../../fuzz/bodies/sdp.rs"]
mod sdp_body;
#[path = "../../fuzz/bodies/sip.rs"]
mod sip_body;

use portolan_shards::fault::Fault;
use portolan_shards::wire::sdp::Sdp;
use portolan_shards::wire::sip::{self, Message};
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
use std::path::{Path, PathBuf};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus");

/// The files below `folder`, in order; none, with a line that says so, when it is absent.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut paths = Vec::new();
    collect(&Path::new(CORPUS).join(folder), &mut paths);
    paths.sort();
    if paths.is_empty() {
        println!("skipped: no corpus at {CORPUS}/{folder}");
    }
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).expect("a readable file"))).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

/// Faults of RFC 4475's messages that a scanner can see; all others are read. Tolerated against the RFC's advice, since
/// nothing is ambiguous in them: spaces within `<>` (badaspec), a bad date (baddate), an unquoted comma in a display
/// name (baddn: only its file here lacks the blank line).
const TORTURE: [(&str, &str); 20] = [
    ("baddn.dat", "no blank line after the headers"),
    ("badinv01.dat", "Via protocol"),
    ("badvers.dat", sip::UNSUPPORTED_VERSION),
    ("bigcode.dat", "status code"),
    ("clerr.dat", "Content-Length beyond the datagram"),
    ("escruri.dat", "Request-URI with headers"),
    ("insuf.dat", "no From"),
    ("ltgtruri.dat", "Request-URI"),
    ("lwsruri.dat", "request line"),
    ("lwsstart.dat", "request line"),
    ("mcl01.dat", "two Content-Length"),
    ("mismatch01.dat", "CSeq of another method"),
    ("mismatch02.dat", "CSeq of another method"),
    ("multi01.dat", "two From"),
    ("ncl.dat", "Content-Length"),
    ("quotbal.dat", "To"),
    ("scalar02.dat", "CSeq"),
    ("scalarlg.dat", "CSeq"),
    ("test.dat", "request line"),
    ("trws.dat", "request line"),
];

#[test]
fn torture_messages_get_the_verdict_they_deserve() {
    for (name, bytes) in files("sip/rfc4475") {
        let expected = TORTURE.iter().find(|(file, _)| *file == name).map_or("", |(_, fault)| fault);
        match Message::parse(&bytes) {
            Ok(_) => assert_eq!(expected, "", "{name} was read"),
            Err(fault) => assert_eq!(fault, Fault::Malformed(expected), "{name}"),
        }
    }
}

#[test]
fn torture_requests_that_are_refused_can_be_answered() {
    let unanswerable = ["test.dat", "bigcode.dat", "scalarlg.dat"];
    for (name, bytes) in files("sip/rfc4475") {
        if Message::parse(&bytes).is_err() {
            let answered = sip::parse_for_reply(&bytes).is_some();
            assert_eq!(answered, !unanswerable.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn recorded_messages_are_read() {
    // One has two To lines; two have a From whose quotes are escaped outside a string, and are read all the same.
    let refused = ["sv_sip-header-multi-value_sip_header_multi_val_0133.sip"];
    for (name, bytes) in files("sip/pcap_msgs") {
        assert_eq!(Message::parse(&bytes).is_err(), refused.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn recorded_descriptions_are_read() {
    for (name, bytes) in files("sdp") {
        let read = Sdp::parse(&bytes);
        assert_eq!(read.is_err(), name == "port_0_rej.sdp", "{name}: {read:?}");
    }
}

#[test]
fn no_file_of_any_protocol_breaks_a_promise() {
    for (_, bytes) in ["sip", "sdp", "mgcp", "megaco"].into_iter().flat_map(files) {
        sip_body::run(&bytes);
        sdp_body::run(&bytes);
    }
}

#[test]
fn rsip_reads_the_same_identities() {
    let mut compared = 0;
    for (name, bytes) in files("sip") {
        let (Ok(message), Ok(other)) = (Message::parse(&bytes), rsip::SipMessage::try_from(&bytes[..]))
        else {
            continue;
        };
        if let Ok(call_id) = other.call_id_header() {
            assert_eq!(message.call_id(), call_id.value().as_bytes(), "{name}");
        }
        if let Some(cseq) = other.cseq_header().ok().and_then(|cseq| cseq.typed().ok()) {
            let (number, method) = message.cseq().expect("a parsed message has one");
            assert_eq!((number, method), (cseq.seq, cseq.method.to_string().as_bytes()), "{name}");
        }
        if let Some(via) = other.via_header().ok().and_then(|via| via.typed().ok()) {
            let host = message.top_via().expect("a parsed message has one").host;
            assert_eq!(host.of(&bytes), via.uri.host().to_string().as_bytes(), "{name}");
            compared += 1;
        }
    }
    println!("compared {compared} messages with rsip");
}

#[test]
fn sdp_rs_reads_the_same_addresses() {
    let mut compared = 0;
    for (name, bytes) in files("sdp") {
        let (Ok(sdp), Ok(text)) = (Sdp::parse(&bytes), std::str::from_utf8(&bytes)) else { continue };
        // It panics on some input, so only what it survives is an oracle.
        let Ok(Ok(other)) = std::panic::catch_unwind(|| text.parse::<sdp_rs::SessionDescription>()) else {
            continue;
        };
        if let Some(connection) = &other.connection {
            let own = sdp.connection.and_then(|c| c.ip);
            assert_eq!(own, Some(connection.connection_address.base), "{name}");
            compared += 1;
        }
        for (own, media) in sdp.media.iter().zip(&other.media_descriptions) {
            assert_eq!(own.port, media.media.port, "{name}");
            if let Some(connection) = media.connections.first() {
                assert_eq!(sdp.address_of(own), Some(connection.connection_address.base), "{name}");
            }
        }
    }
    println!("compared {compared} descriptions with sdp-rs");
}
