//! Input that broke other implementations, one test per case: the verdict, and nothing left behind.

#[path = "support/messages.rs"]
mod messages;
mod support;

use messages::{
    OFFER, access, answer, assert_empty, body, core, drops, invite, invite_head, invite_with, passed,
    response, status, with_body,
};
use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::wire::sip::{Message, Name};
use std::time::Duration;
use support::{ACCESS, CORE, Sent, World, addr, mapping, rtp};

/// Sends it from the access side, and gives what went on to the core; nothing is left after the timers.
#[track_caller]
fn passes(bytes: &[u8]) -> Sent {
    let mut world = World::new(mapping(2));
    let sent = world.deliver_raw(0, access(), bytes);
    assert_eq!(answer(&sent, access()).map(Sent::text), None);
    let out = passed(&sent, access()).expect("it passes").clone();
    assert_empty(&mut world);
    out
}

/// Sends it from the access side: it is answered with this status, nothing goes on, nothing is left.
#[track_caller]
fn refused(bytes: &[u8], with: u16) {
    let mut world = World::new(mapping(2));
    let sent = world.deliver_raw(0, access(), bytes);
    assert!(passed(&sent, access()).is_none(), "it passed: {sent:?}");
    assert_eq!(sent.first().and_then(status), Some(with), "{sent:?}");
    assert_eq!(drops(&mut world, DropReason::Malformed), 1);
    assert_empty(&mut world);
}

/// Sends it as an answer to a call of ours: it is dropped, counted, and the call goes on.
#[track_caller]
fn response_dropped(spoil: impl Fn(String) -> String) {
    let mut world = World::new(mapping(2));
    let sent = world.deliver_raw(0, access(), &invite(OFFER));
    let up = passed(&sent, access()).expect("an INVITE").clone();
    let good = String::from_utf8(response(&up, "180 Ringing", "", b"")).expect("ASCII");
    let bad = spoil(good.clone());
    assert_ne!(good, bad);
    let back = portolan_shards::types::Flow { local: up.flow.local, ..core() };
    let shard = usize::from(up.flow.local.port() - 6000);
    assert!(world.deliver_raw(shard, back, bad.as_bytes()).is_empty());
    assert_eq!(drops(&mut world, DropReason::Malformed), 1);
    let ringing = world.deliver_raw(shard, back, good.as_bytes());
    assert_eq!(ringing.first().and_then(status), Some(180));
    assert_empty(&mut world);
}

#[test]
fn sdp_without_a_final_line_feed_is_rewritten_to_its_last_octet() {
    for cut in ["\r\n", "\n"] {
        let sdp = OFFER.replace("\r\n", cut);
        let out = body(&passes(&invite(sdp.trim_end())));
        assert!(out.ends_with(b"a=rtpmap:0 PCMU/8000"), "{}", out.escape_ascii());
    }
    let sdp = OFFER.replace("m=audio 5004 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", "m=audio 5004 RTP/AVP 0");
    let out = String::from_utf8(body(&passes(&invite(&sdp)))).expect("ASCII");
    assert!(out.ends_with(" RTP/AVP 0") && !out.contains("5004"), "{out}");
    let sdp = OFFER.replace("c=IN IP4 192.168.1.10\r\n", "") + "c=IN IP4 192.168.1.10";
    let out = String::from_utf8(body(&passes(&invite(&sdp)))).expect("ASCII");
    assert!(out.ends_with("c=IN IP4 10.0.0.10"), "{out}");
}

#[test]
fn a_bandwidth_line_without_a_colon_passes_as_it_stands() {
    for line in ["b=", "b=AS", "b=AS 64", "b=:", "b=AS:", "b=AS:x", "b=AS:99999999999999999999", "b"] {
        let sdp = OFFER.replace("t=0 0", &format!("{line}\r\nt=0 0"));
        let out = String::from_utf8(body(&passes(&invite(&sdp)))).expect("ASCII");
        assert!(out.contains(&format!("\r\n{line}\r\nt=0 0\r\n")), "{line}: {out}");
    }
}

#[test]
fn a_content_length_of_two_to_the_32_and_more_does_not_wrap() {
    let length = OFFER.len() as u128;
    let honest = format!("Content-Length: {length}");
    for power in [32, 64, 96] {
        refused(&invite_with(&honest, &format!("Content-Length: {}", (1_u128 << power) + length)), 400);
        refused(&invite_with(&honest, &format!("Content-Length: {}", 1_u128 << power)), 400);
    }
    refused(&invite_with(&honest, &format!("Content-Length: {}", (1_u128 << 32) + 32)), 400);
    response_dropped(|good| good.replace("Length: 0", "Length: 4294967296"));
}

#[test]
fn white_space_before_the_colon_is_read() {
    for name in
        ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length"]
    {
        let out = passes(&invite_with(&format!("\r\n{name}:"), &format!("\r\n{name} \t:")));
        let message = Message::parse(&out.bytes).expect("it is read");
        assert_eq!((message.call_id(), message.from_tag()), (&b"call-1"[..], Some(&b"a"[..])));
        assert_eq!(message.max_forwards(), Some(69));
        assert!(!out.text().contains("192.168."), "{name}: {}", out.text());
    }
    refused(&invite_with("\r\nCall-ID:", "\r\nCall-ID\r\n :"), 400);
}

#[test]
fn tags_branches_and_call_ids_of_300_octets_come_back_whole() {
    let (tag, branch, call) = ("t".repeat(300), format!("z9hG4bK{}", "b".repeat(293)), "c".repeat(300));
    let text = String::from_utf8(invite(OFFER)).expect("ASCII");
    let text =
        text.replace("tag=a", &format!("tag={tag}")).replace("z9hG4bKinv", &branch).replace("call-1", &call);
    let mut world = World::new(mapping(1));
    let sent = world.deliver_raw(0, access(), text.as_bytes());
    let up = passed(&sent, access()).expect("it passes");
    assert!(up.header("From").ends_with(&format!(";tag={tag}")));
    let far = "d".repeat(300);
    let ringing = response(up, "180 Ringing", "", b"");
    let ringing = String::from_utf8(ringing).expect("ASCII").replace("tag=b", &format!("tag={far}"));
    let down = world.deliver_raw(0, core(), ringing.as_bytes());
    let back = down.iter().find(|sent| status(sent) == Some(180)).expect("a 180");
    assert!(back.header("Via").contains(&format!(";branch={branch};")), "{}", back.text());
    assert!(back.header("To").ends_with(&format!(";tag={far}")));
    assert_eq!(back.header("Call-ID"), call);
    assert_empty(&mut world);
}

#[test]
fn a_header_that_stands_once_is_refused_twice_even_when_both_agree() {
    for line in [
        "Call-ID: call-1",
        "CSeq: 1 INVITE",
        "From: <sip:alice@198.51.100.10>;tag=a",
        "To: <sip:bob@198.51.100.10>",
        "Max-Forwards: 70",
    ] {
        refused(&invite_with("Contact:", &format!("{line}\r\nContact:")), 400);
    }
    for line in [
        "i: call-2",
        "CSeq: 2 INVITE",
        "f: <sip:eve@192.0.2.66>;tag=e",
        "t: <sip:eve@192.0.2.66>",
        "MAX-FORWARDS: 1",
    ] {
        refused(&invite_with("Contact:", &format!("{line}\r\nContact:")), 400);
    }
    response_dropped(|good| good.replace("CSeq:", "CSeq: 1 BYE\r\nCSeq:"));
    response_dropped(|good| good.replace("To:", "To: <sip:eve@192.0.2.66>\r\nTo:"));
}

#[test]
fn two_content_lengths_pass_when_they_agree_only() {
    let length = OFFER.len();
    let out = passes(&invite_with("Contact:", &format!("l: {length}\r\nContact:")));
    let message = Message::parse(&out.bytes).expect("the length is said once");
    assert_eq!(message.all(Name::ContentLength).count(), 1);
    refused(&invite_with("Contact:", "Content-Length: 0\r\nContact:"), 400);
    refused(&invite_with("Contact:", &format!("l: {}\r\nContact:", length - 1)), 400);
}

#[test]
fn a_cseq_above_its_range_is_refused() {
    passes(&invite_with("CSeq: 1 ", "CSeq: 2147483647 "));
    for number in [
        "2147483648",
        "4294967295",
        "4294967296",
        "4294967297",
        "18446744073709551617",
        "99999999999999999999",
        "-1",
        "+1",
        "1.0",
        "0x1",
    ] {
        refused(&invite_with("CSeq: 1 ", &format!("CSeq: {number} ")), 400);
        response_dropped(|good| good.replace("CSeq: 1 ", &format!("CSeq: {number} ")));
    }
}

#[test]
fn a_cseq_of_another_method_is_refused() {
    for method in ["BYE", "invite", "INVITE2", "INVIT", "ACK"] {
        refused(&invite_with("CSeq: 1 INVITE", &format!("CSeq: 1 {method}")), 400);
    }
}

#[test]
fn overlong_digest_parameters_pass_untouched() {
    let name = "n".repeat(8192);
    for value in [
        format!("Digest username=\"a\", {name}=\"x\", realm=\"r\""),
        format!("Digest {name}, {name}={name}"),
        format!("Digest username=\"{name}\",uri=\"sip:example.net\",response=\"{}\"", "f".repeat(4096)),
        "Digest username=\"open, realm=".to_owned(),
        "Digest ,,,=,\"\"=\"\",==".to_owned(),
    ] {
        for header in ["Authorization", "Proxy-Authorization"] {
            let out = passes(&invite_with("Contact:", &format!("{header}: {value}\r\nContact:")));
            assert!(out.text().contains(&format!("\r\n{header}: {value}\r\n")));
        }
    }
}

/// A multipart body of a binary part, a description, and another binary part.
fn multipart(binary: &[u8], sdp: &str) -> Vec<u8> {
    let open = |kind: &str| format!("--unique-boundary-1\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
    let isup = open("application/ISUP;version=nxv3;base=etsi121");
    let parts =
        [&isup[..], binary, b"\r\n", &open("application/sdp"), sdp.as_bytes(), b"\r\n", &isup, binary];
    [&parts.concat()[..], b"\r\n--unique-boundary-1--\r\n"].concat()
}

const MULTIPART: &str = "multipart/mixed; boundary=unique-boundary-1";

#[test]
fn broken_rtpmap_and_fmtp_in_a_multipart_description_pass_as_they_stand() {
    let broken = "a=rtpmap\r\na=rtpmap:\r\na=rtpmap: \r\na=rtpmap:0\r\na=rtpmap:999999999999 PCMU/8000\r\n\
        a=rtpmap:-1 x/y/z/w\r\na=rtpmap:0 /\r\na=fmtp\r\na=fmtp:\r\na=fmtp:0\r\na=fmtp:999 ;;;=;\r\na=fmtp:0 \u{1}\u{ff}\r\n\
        a=ptime:\r\na=ptime:99999999999\r\n";
    let out =
        body(&passes(&with_body(&invite_head(), MULTIPART, &multipart(b"x", &format!("{OFFER}{broken}")))));
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.contains(broken), "{out}");
    assert!(out.contains("c=IN IP4 10.0.0.10\r\n") && !out.contains("192.168."), "{out}");
}

#[test]
fn isup_with_line_ends_and_things_like_boundaries_passes_octet_by_octet() {
    let binaries: [&[u8]; 7] = [
        b"\x01\x00\x49\r\n\r\n\x00\xff\r\r\n\n",
        b"\r\n--unique-boundary-11\r\n",
        b"\r\n--unique-boundary-\r\n--unique-boundary-1x--\r\n",
        b"\r\n-unique-boundary-1\r\n --unique-boundary-1\r\nx--unique-boundary-1",
        b"v=0\r\nc=IN IP4 192.168.1.10\r\nm=audio 9 RTP/AVP 0\r\n",
        b"Content-Type: application/sdp\r\n\r\nv=0\r\n",
        &[0; 300],
    ];
    for binary in binaries {
        let sent = multipart(binary, OFFER);
        let out = body(&passes(&with_body(&invite_head(), MULTIPART, &sent)));
        let found = out.windows(binary.len()).filter(|window| *window == binary).count();
        assert!(found >= 2, "{}", out.escape_ascii());
        let (head, tail) =
            (b"--unique-boundary-1\r\nContent-Type: application/ISUP;", b"\r\n--unique-boundary-1--\r\n");
        assert!(out.starts_with(head) && out.ends_with(tail), "{}", out.escape_ascii());
        let ours = b"c=IN IP4 10.0.0.10\r\n";
        assert_eq!(out.windows(ours.len()).filter(|window| window == ours).count(), 1);
    }
}

fn media_port(text: &str) -> u16 {
    let line = text.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("an m= line");
    line.split(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// RTCP of `packet` to the RTCP port of a running call.
fn rtcp_verdict(packet: &[u8]) -> Verdict {
    let mut world = World::new(mapping(1));
    let sent = world.deliver_raw(0, access(), &invite(OFFER));
    let up = passed(&sent, access()).expect("an INVITE").clone();
    let sdp = OFFER.replace("192.168.1.10", "10.0.0.20").replace("5004", "30000");
    let ok = response(&up, "200 OK", "Contact: <sip:bob@10.0.0.20>\r\n", sdp.as_bytes());
    let sent = world.deliver_raw(0, core(), &ok);
    let down = answer(&sent, access()).expect("a 200").text();
    let (near, far) = (media_port(&down), media_port(&up.text()));
    for sequence in 1..6 {
        world.media(ACCESS, near, "203.0.113.7:51000", &rtp(sequence, 7));
        world.media(CORE, far, "10.0.0.20:30000", &rtp(sequence, 8));
        world.pass(Duration::from_millis(20));
    }
    let verdict = world.media(ACCESS, near + 1, "203.0.113.7:51001", packet);
    assert_empty(&mut world);
    verdict
}

#[test]
fn rtcp_of_four_octets_is_a_packet_and_less_or_longer_than_it_says_is_not() {
    let whole = rtcp_verdict(&[0x80, 201, 0, 0]);
    assert!(matches!(whole, Verdict::Forward { to, .. } if to == addr("10.0.0.20:30001")), "{whole:?}");
    for bad in [
        &[][..],
        &[0x80],
        &[0x80, 201, 0],
        &[0x80, 201, 0, 1],
        &[0x80, 200, 0xff, 0xff],
        &[0x80, 201, 0, 0, 0],
        &[0, 201, 0, 0],
    ] {
        assert_eq!(rtcp_verdict(bad), Verdict::Drop(DropReason::NotRtcp), "{bad:?}");
    }
}
