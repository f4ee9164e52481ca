//! The fuzz targets' bodies on the stable compiler: the committed corpus, deterministic mutations of it, and
//! hostile shapes at full datagram size.

#[path = "../../fuzz/bodies/dtls.rs"]
mod dtls;
#[path = "../../fuzz/bodies/frame.rs"]
mod frame;
#[path = "../../fuzz/bodies/h248.rs"]
mod h248;
#[path = "../../fuzz/bodies/mgcp.rs"]
mod mgcp;
#[path = "../../fuzz/bodies/rtcp.rs"]
mod rtcp;
#[path = "../../fuzz/bodies/rtp.rs"]
mod rtp;
#[path = "../../fuzz/bodies/sdp.rs"]
mod sdp;
#[path = "../../fuzz/bodies/sip.rs"]
mod sip;
#[path = "../../fuzz/bodies/stun.rs"]
mod stun;
#[path = "../../fuzz/bodies/xml.rs"]
mod xml;

use portolan_shards::limits::MAX_MESSAGE;
use portolan_shards::wire::dtls::is_handshake;
use portolan_shards::wire::mgcp::messages as parts_of;
use portolan_shards::wire::sdp::Sdp;
use portolan_shards::wire::sip::{Frame, Message};
use portolan_shards::wire::xml::fields;
use proptest::prelude::*;
use std::path::Path;

type Body = fn(&[u8]);

/// The files of one target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

/// A small generator, so that every run sees the same mutations (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("below a usize")
    }

    fn mutate(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        const TRAPS: &[u8] = b"\r\n \t\0\"\\<>;:,=@?[]/$%09aSv\xff";
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below(bytes.len() - at + 1);
            match self.below(6) {
                0 => bytes.insert(at, TRAPS[self.below(TRAPS.len())]),
                1 if at < bytes.len() => bytes[at] = TRAPS[self.below(TRAPS.len())],
                2 => drop(bytes.drain(at..end.min(at + 40))),
                3 => bytes.truncate(at),
                4 => {
                    let copy = bytes[at..end.min(at + 80)].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => {
                    let from = self.below(other.len());
                    bytes.splice(at..at, other[from..(from + 60).min(other.len())].iter().copied());
                }
            }
        }
        bytes
    }
}

fn replay(target: &str, body: Body) {
    let corpus = corpus(target);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for seed in &corpus {
        body(seed);
        (0..seed.len()).for_each(|cut| body(&seed[..cut]));
        for _ in 0..1_500 {
            let other = dice.below(corpus.len());
            body(&dice.mutate(seed, &corpus[other]));
        }
    }
}

#[test]
fn sip_corpus_and_its_mutations() {
    replay("sip", sip::run);
}

#[test]
fn stream_corpus_and_its_mutations() {
    replay("frame", frame::run);
}

#[test]
fn sdp_corpus_and_its_mutations() {
    replay("sdp", sdp::run);
}

#[test]
fn rtp_corpus_and_its_mutations() {
    replay("rtp", rtp::run);
}

#[test]
fn rtcp_corpus_and_its_mutations() {
    replay("rtcp", rtcp::run);
}

#[test]
fn xml_corpus_and_its_mutations() {
    replay("xml", xml::run);
}

#[test]
fn stun_corpus_and_its_mutations() {
    replay("stun", stun::run);
}

#[test]
fn dtls_corpus_and_its_mutations() {
    replay("dtls", dtls::run);
}

#[test]
fn mgcp_corpus_and_its_mutations() {
    replay("mgcp", mgcp::run);
}

#[test]
fn h248_corpus_and_its_mutations() {
    replay("h248", h248::run);
}

/// A corpus that is refused at its first line tests nothing.
#[test]
fn the_corpus_reaches_the_depths() {
    let messages = corpus("sip").iter().filter(|seed| Message::parse(seed).is_ok()).count();
    assert_eq!(messages, corpus("sip").len() - 2, "all but the ping and the bad version");
    let streams = corpus("frame");
    let framed = streams.iter().flat_map(|seed| frame::frames(seed, MAX_MESSAGE, seed.len()));
    assert_eq!(framed.filter(|found| matches!(found, Frame::Message(_))).count(), 11);
    assert_eq!(corpus("dtls").iter().filter(|seed| is_handshake(seed)).count(), corpus("dtls").len() - 2);
    let mgcp = corpus("mgcp");
    let parts = mgcp.iter().flat_map(|seed| parts_of(seed).into_iter().map(|part| part.of(seed)));
    assert_eq!(
        parts.filter(|part| mgcp::reads(part)).count(),
        mgcp.len() + 1,
        "three in one, and one is broken"
    );
    let h248 = corpus("h248");
    assert_eq!(h248.iter().filter(|seed| h248::reads(seed)).count(), h248.len() - 1, "one is broken");
    assert!(corpus("sdp").iter().all(|seed| Sdp::parse(seed).is_ok_and(|sdp| !sdp.media.is_empty())));
    assert!(corpus("xml").iter().all(|seed| fields(seed).is_ok_and(|fields| fields.len() > 2)));
}

/// Repetitions that make a scanner with a hidden inner loop crawl: this test would not end.
#[test]
fn hostile_repetitions_at_full_size() {
    let head = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c\r\nFrom: <sip:a@b>\r\nTo: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";
    let units: [&[u8]; 18] = [
        b",",
        b";",
        b"\"",
        b"<",
        b">",
        b"\\",
        b"a=",
        b"@",
        b"\r\n ",
        b"\n",
        b"--b\r\n",
        b"v:,\r\n",
        b"m=a 1 a\n",
        b";a=\"",
        b"&",
        b"<!--",
        b"<a b='",
        b"<a>",
    ];
    for unit in units {
        let mut bytes = head.to_vec();
        for prefix in [&b""[..], b"Contact: ", b"Content-Type: multipart/mixed;boundary=b\r\n\r\n"] {
            bytes.truncate(head.len());
            bytes.extend_from_slice(prefix);
            bytes.extend(unit.iter().cycle().take(MAX_MESSAGE - bytes.len()));
            sip::run(&bytes);
            frame::run(&bytes);
            bytes.truncate(MAX_MESSAGE - 4);
            bytes.extend_from_slice(b"\r\n\r\n");
            sip::run(&bytes);
            sdp::run(&bytes[head.len()..]);
            xml::run(&bytes[head.len()..]);
            mgcp::run(&[&b"RSIP 1 *@a MGCP 1.0\nZ: "[..], &bytes[head.len()..]].concat());
            h248::run(&[&b"!/1 a T=1{C=1{A=a{M{"[..], &bytes[head.len()..]].concat());
        }
    }
}

proptest! {
    #[test]
    fn any_text_like_xml_is_safe(text in "(</?[ab:]{1,2}( [ab]='[^<>]{0,5}'){0,2}/?>|[ a&;#x0-9]{0,6}|<!--|-->|<!\\[CDATA\\[|\\]\\]>){0,20}") {
        xml::run(text.as_bytes());
    }

    #[test]
    fn any_octets_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        sip::run(&bytes);
        frame::run(&bytes);
        sdp::run(&bytes);
        rtp::run(&bytes);
        rtcp::run(&bytes);
        stun::run(&bytes);
        dtls::run(&bytes);
        xml::run(&bytes);
        mgcp::run(&bytes);
        h248::run(&bytes);
    }

    #[test]
    fn any_items_of_h248_are_safe(text in "((T|P|K|C|A|AV|SC|SV|M|ST|L|R|O|ER|AD|MG|a)(=([1$*-]|a/1|<b>|MTP|\\[a,b\\]))?([{]{1,3}|[}]{1,4}|,|;|\"| )){0,40}") {
        h248::run(format!("!/1 a {text}").as_bytes());
        h248::run(format!("!/1 a T=1{{C=1{{A=a{{{text}}}}}}}").as_bytes());
    }

    #[test]
    fn any_elements_of_ber_are_safe(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0x30), Just(0x80), 0xa0_u8..0xa4, 0_u8..8], 0..200)) {
        h248::run(&[&[0x30, 0x80], bytes.as_slice()].concat());
        let inner = [&[0x80, 1, 1, 0xa1, 3, 0x83, 1, b'a', 0xa2, 0x80, 0xa1, 0x80], bytes.as_slice(), &[0; 4]].concat();
        h248::run(&[&[0x30, 0x80, 0xa1, 0x80], inner.as_slice(), &[0; 4]].concat());
    }

    #[test]
    fn any_text_of_the_grammar_is_safe(text in "([a-zA-Z]{1,3}[=:][ <>\";,@:/a-z0-9\\[\\]\\\\]{0,30}\r?\n){0,20}") {
        sip::run(text.as_bytes());
        frame::run(text.as_bytes());
        sdp::run(text.as_bytes());
    }
}
