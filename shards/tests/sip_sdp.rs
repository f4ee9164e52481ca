//! What becomes of session descriptions on their way through: one test for each thing that a full proxy must get right.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::realm::Server;
use portolan_shards::types::{Flow, MediaPort, Side, Transport};
use std::sync::Arc;
use support::call::{self, NAT_MEDIA, core_request, end, invite, port, request, response, sdp, totals};
use support::{ACCESS, CORE, NAT, Sent, World, addr, mapping, realm, rtp};

const PHONE: &str = "192.168.1.10:5004";
const PEER: &str = "10.0.0.21:30000";
const HEAD: &str = "v=0\no=- 1 1 IN IP4 192.168.1.10\ns=-\n";

/// A call from a terminal.
struct Call {
    world: World,
    up: Sent,
    shown: Option<Sent>,
}

impl Call {
    fn invited(body: &str) -> Self {
        let mut world = World::new(mapping(1));
        let up = world.terminal_sends(NAT, &invite(Some(body))).remove(0);
        Self { world, up, shown: None }
    }

    fn established(offer: &str, answer: &str) -> Self {
        let mut call = Self::invited(offer);
        let up = call.up.clone();
        call.shown = Some(call.core_answers(&up, "200 OK", Some(answer)));
        call
    }

    fn shown(&self) -> Sent {
        self.shown.clone().expect("an answer")
    }

    fn core_answers(&mut self, request: &Sent, status: &str, body: Option<&str>) -> Sent {
        let text = response(request, status, "b", body);
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }

    fn caller_asks(&mut self, cseq: u32, body: &str) -> Sent {
        let text = request(&self.shown(), "INVITE", cseq, Some(body));
        self.world.terminal_sends(NAT, &text).remove(0)
    }

    fn core_asks(&mut self, cseq: u32, body: &str) -> Sent {
        let text = core_request(&self.up, "b", "INVITE", cseq, Some(body));
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }

    fn caller_answers(&mut self, request: &Sent, body: &str) -> Sent {
        let text = response(request, "200 OK", "a", Some(body));
        self.world.terminal_sends(NAT, &text).remove(0)
    }

    fn caller_speaks(&mut self, packet: &[u8]) -> Verdict {
        let at = port(&self.shown(), 0);
        self.world.media(ACCESS, at, NAT_MEDIA, packet)
    }

    fn core_speaks(&mut self, from: &str, packet: &[u8]) -> Verdict {
        let at = port(&self.up, 0);
        self.world.media(CORE, at, from, packet)
    }

    /// The caller has spoken long enough to be latched.
    fn latch(&mut self) {
        for n in 0..6 {
            self.world.now += std::time::Duration::from_millis(20);
            self.caller_speaks(&rtp(n, 7));
        }
    }
}

/// The description in a message.
fn body(sent: &Sent) -> String {
    sent.text().split_once("\r\n\r\n").expect("a body").1.to_owned()
}

/// All lines of the description that begin so.
fn lines(sent: &Sent, prefix: &str) -> Vec<String> {
    body(sent).lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

/// The description as the softswitch gets it.
fn forwarded(text: &str) -> Sent {
    Call::invited(text).up
}

fn sent_to(verdict: Verdict, place: &str) -> bool {
    matches!(verdict, Verdict::Forward { to, .. } if to == addr(place))
}

fn with_version(version: u32, media: &str, more: &str) -> String {
    sdp(media, more).replace("o=- 1 1 ", &format!("o=- 77 {version} "))
}

#[test]
fn origin_is_ours_all_through_the_dialog_and_its_version_theirs() {
    let mut call = Call::established(&with_version(5, PHONE, ""), &with_version(9, PEER, ""));
    assert_eq!(lines(&call.up, "o="), ["o=- 77 5 IN IP4 10.0.0.10"]);
    assert_eq!(lines(&call.shown(), "o="), ["o=- 77 9 IN IP4 198.51.100.10"]);
    let refresh = call.caller_asks(2, &with_version(5, PHONE, ""));
    assert_eq!(body(&refresh), body(&call.up), "what is the same for them is the same for us");
    let again = call.core_answers(&refresh, "200 OK", Some(&with_version(9, PEER, "")));
    assert_eq!(body(&again), body(&call.shown()));
    let moved = call.caller_asks(3, &with_version(6, "192.168.1.77:6000", ""));
    assert_eq!(lines(&moved, "o="), ["o=- 77 6 IN IP4 10.0.0.10"]);
}

#[test]
fn connection_at_the_session_in_the_stream_in_both_or_not_at_the_session() {
    let at = |session: &str, stream: &str| {
        forwarded(&format!("{HEAD}{session}t=0 0\nm=audio 5004 RTP/AVP 0\n{stream}"))
    };
    let (own, other) = ("c=IN IP4 192.168.1.10\n", "c=IN IP4 192.168.1.11\n");
    let ours = "c=IN IP4 10.0.0.10";
    assert_eq!(lines(&at(own, ""), "c="), [ours]);
    assert_eq!(lines(&at("", own), "c="), [ours]);
    assert_eq!(lines(&at(own, other), "c="), [ours, ours]);
    let two =
        forwarded(&format!("{HEAD}t=0 0\nm=audio 5004 RTP/AVP 0\n{own}m=video 5006 RTP/AVP 96\n{other}"));
    assert_eq!(lines(&two, "c="), [ours, ours]);
    let none = at("", "");
    assert!(none.text().starts_with("SIP/2.0 400 "), "{}", none.text());
}

#[test]
fn each_leg_has_its_own_address_family() {
    let mut mixed = mapping(1);
    let mut core = realm(CORE, "core", Side::Core, "2001:db8::10");
    core.per_shard = Some(6000);
    mixed.realms[1] = Arc::new(core);
    let mut softswitch = (*mixed.softswitches[0]).clone();
    softswitch.targets = vec![Server::udp(addr("[2001:db8::20]:5060"))];
    mixed.softswitches = vec![Arc::new(softswitch)];
    let mut world = World::new(mixed);
    let up =
        world.terminal_sends(NAT, &invite(Some(&sdp(PHONE, "a=rtcp:5005 IN IP4 192.168.1.10\n")))).remove(0);
    assert_eq!(lines(&up, "o="), ["o=- 1 1 IN IP6 2001:db8::10"]);
    assert_eq!(lines(&up, "c="), ["c=IN IP6 2001:db8::10"]);
    assert_eq!(lines(&up, "a=rtcp:"), [format!("a=rtcp:{} IN IP6 2001:db8::10", port(&up, 0) + 1)]);
}

#[test]
fn streams_keep_order_and_number() {
    let streams = "m=video 5006 RTP/AVP 96\nm=x-odd 5008 UDP/odd what ever\nm=text 0 RTP/AVP 98\nm=image 5010 udptl t38\n";
    let up = forwarded(&sdp(PHONE, streams));
    let shapes: Vec<_> =
        lines(&up, "m=").iter().map(|l| l.replace(|c: char| c.is_ascii_digit(), "")).collect();
    assert_eq!(
        shapes,
        [
            "m=audio  RTP/AVP ",
            "m=video  RTP/AVP ",
            "m=x-odd  UDP/odd what ever",
            "m=text  RTP/AVP ",
            "m=image  udptl t"
        ]
    );
    assert_eq!(lines(&up, "m=text"), ["m=text 0 RTP/AVP 98"]);
}

#[test]
fn port_zero_stays_zero_and_frees_the_ports_with_the_answer() {
    let offer = sdp(PHONE, "m=video 5006 RTP/AVP 96\nm=text 0 RTP/AVP 98\n");
    let mut call = Call::invited(&offer);
    assert_eq!(totals(&mut call.world).1, 8, "nothing for the stream that was not offered");
    let up = call.up.clone();
    let answer = sdp(PEER, "m=video 0 RTP/AVP 96\nm=text 0 RTP/AVP 98\n");
    let shown = call.core_answers(&up, "200 OK", Some(&answer));
    assert_eq!([port(&shown, 1), port(&shown, 2)], [0, 0]);
    assert_eq!(totals(&mut call.world).1, 6, "what forks could still send to is kept for 64 T1");
    call.world.pass(std::time::Duration::from_secs(33));
    assert_eq!(totals(&mut call.world).1, 4);
    call.shown = Some(shown);
    let again = call.caller_asks(2, &sdp("192.168.1.10:0", ""));
    assert_eq!(port(&again, 0), 0);
    assert_eq!(totals(&mut call.world).1, 4, "the offer alone frees nothing");
    call.core_answers(&again, "200 OK", Some(&sdp("10.0.0.21:0", "")));
    assert_eq!(totals(&mut call.world).1, 0);
}

#[test]
fn an_answer_to_what_was_not_offered_gets_no_ports() {
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, "m=video 30002 RTP/AVP 96\n"));
    assert_eq!(port(&call.shown(), 1), 0);
    assert_eq!(totals(&mut call.world).1, 4);
}

#[test]
fn a_number_of_ports_becomes_our_one() {
    let up = forwarded(&sdp(PHONE, "").replace("5004", "5004/2"));
    assert_eq!(lines(&up, "m="), [format!("m=audio {} RTP/AVP 0", port(&up, 0))]);
}

#[test]
fn hold_by_zero_address_stays_zero_and_keeps_the_ports() {
    for zero in ["IP4 0.0.0.0", "IP6 ::"] {
        let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
        call.latch();
        let held = sdp(PHONE, "").replace("c=IN IP4 192.168.1.10", &format!("c=IN {zero}"));
        let hold = call.caller_asks(2, &held);
        assert_eq!(lines(&hold, "c="), ["c=IN IP4 0.0.0.0"]);
        assert_eq!(port(&hold, 0), port(&call.up, 0));
        call.core_answers(&hold, "200 OK", Some(&sdp(PEER, "")));
        assert_eq!(call.core_speaks(PEER, &rtp(1, 8)), Verdict::Drop(DropReason::GateClosed));
        let resume = call.caller_asks(3, &sdp(PHONE, ""));
        assert_eq!(port(&resume, 0), port(&call.up, 0));
        call.core_answers(&resume, "200 OK", Some(&sdp(PEER, "")));
        assert!(sent_to(call.core_speaks(PEER, &rtp(2, 8)), NAT_MEDIA));
    }
}

#[test]
fn hold_by_direction_passes_and_keeps_ports_and_latch() {
    for (offer, answer) in [("sendonly", "recvonly"), ("inactive", "inactive")] {
        let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
        call.latch();
        let hold = call.core_asks(1, &sdp(PEER, &format!("a={offer}\n")));
        assert_eq!(lines(&hold, &format!("a={offer}")).len(), 1, "{}", hold.text());
        assert_eq!(port(&hold, 0), port(&call.shown(), 0));
        let up = call.caller_answers(&hold, &sdp(PHONE, &format!("a={answer}\n")));
        assert_eq!(lines(&up, &format!("a={answer}")).len(), 1, "{}", up.text());
        assert_eq!(call.caller_speaks(&rtp(20, 7)), Verdict::Drop(DropReason::GateClosed));
        let heard = sent_to(call.core_speaks(PEER, &rtp(2, 8)), NAT_MEDIA);
        assert_eq!(heard, offer == "sendonly", "music on hold reaches the latched terminal");
    }
}

/// The directions in a description.
fn directions(sent: &Sent) -> Vec<String> {
    ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].iter().flat_map(|d| lines(sent, d)).collect()
}

#[test]
fn no_terminal_is_told_to_be_silent_before_it_is_latched() {
    for (said, told, answers, heard) in [
        ("sendonly", "sendrecv", "", "recvonly"),
        ("sendonly", "sendrecv", "a=sendrecv\n", "recvonly"),
        ("sendonly", "sendrecv", "a=sendonly\n", "inactive"),
        ("inactive", "recvonly", "a=sendonly\n", "inactive"),
    ] {
        let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
        let hold = call.core_asks(1, &with_version(2, PEER, &format!("a={said}\n")));
        assert_eq!(directions(&hold), [format!("a={told}")]);
        let up = call.caller_answers(&hold, &sdp(PHONE, answers));
        assert_eq!(directions(&up), [format!("a={heard}")], "{said} answered {answers}");
        assert_eq!(call.caller_speaks(&rtp(1, 7)), Verdict::Drop(DropReason::GateClosed));
        call.latch();
        assert_eq!(
            sent_to(call.core_speaks(PEER, &rtp(1, 8)), NAT_MEDIA),
            said == "sendonly" && heard == "recvonly"
        );
        let refresh = call.core_asks(2, &with_version(2, PEER, &format!("a={said}\n")));
        assert_eq!(directions(&refresh), [format!("a={told}")], "the same version reads the same");
        call.caller_answers(&refresh, &sdp(PHONE, answers));
        let changed = call.core_asks(3, &with_version(3, PEER, &format!("a={said}\n")));
        assert_eq!(directions(&changed), [format!("a={said}")], "latched now");
    }
}

#[test]
fn ringing_that_only_sends_is_shown_as_an_answer_to_what_was_offered() {
    for (offer, answer) in [("", "sendrecv"), ("a=recvonly\n", "sendonly")] {
        let call = Call::established(&sdp(PHONE, offer), &sdp(PEER, "a=sendonly\n"));
        assert_eq!(directions(&call.shown()), [format!("a={answer}")], "offered {offer}");
    }
}

#[test]
fn a_direction_of_the_session_is_overruled_in_the_stream() {
    let offer = sdp(PEER, "").replace("t=0 0\n", "t=0 0\na=sendonly\n");
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
    let hold = call.core_asks(1, &offer);
    assert!(body(&hold).ends_with("a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"), "{}", hold.text());
}

#[test]
fn both_forms_of_the_rtcp_attribute_are_ours() {
    let short = forwarded(&sdp(PHONE, "a=rtcp:6007\n"));
    assert_eq!(lines(&short, "a=rtcp:"), [format!("a=rtcp:{}", port(&short, 0) + 1)]);
    let long = forwarded(&sdp(PHONE, "a=rtcp:6007 IN IP4 192.168.1.10\n"));
    assert_eq!(lines(&long, "a=rtcp:"), [format!("a=rtcp:{} IN IP4 10.0.0.10", port(&long, 0) + 1)]);
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, "a=rtcp:40000 IN IP4 10.0.0.99\n"));
    call.latch();
    call.core_speaks(PEER, &rtp(1, 8));
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let at = port(&call.shown(), 0) + 1;
    let verdict = call.world.media(ACCESS, at, "203.0.113.7:51001", &report);
    assert!(sent_to(verdict, "10.0.0.99:40000"), "{verdict:?}");
}

#[test]
fn rtcp_is_multiplexed_only_if_both_agree() {
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    for (offer, answer, agreed) in
        [("a=rtcp-mux\n", "a=rtcp-mux\n", true), ("a=rtcp-mux\n", "", false), ("", "a=rtcp-mux\n", false)]
    {
        let mut call = Call::established(&sdp(PHONE, offer), &sdp(PEER, answer));
        assert_eq!(lines(&call.up, "a=rtcp-mux").len(), offer.len().min(1));
        assert_eq!(lines(&call.shown(), "a=rtcp-mux").len(), usize::from(agreed), "offered {offer}");
        call.latch();
        call.core_speaks(PEER, &rtp(1, 8));
        let verdict = call.caller_speaks(&report);
        assert_eq!(sent_to(verdict, PEER), agreed, "{verdict:?}");
    }
}

#[test]
fn ice_and_bundle_are_stripped() {
    let ice = "a=ice-ufrag:abc\na=ice-pwd:secret\na=candidate:1 1 UDP 1 192.168.1.10 5004 typ host\n\
               a=end-of-candidates\na=remote-candidates:1 192.168.1.10 5004\na=mid:0\na=bundle-only\n";
    let session = "t=0 0\na=group:BUNDLE 0\na=ice-lite\na=ice-options:trickle\n";
    let up = forwarded(&sdp(PHONE, ice).replace("t=0 0\n", session));
    assert_eq!(lines(&up, "a="), ["a=rtpmap:0 PCMU/8000", "a=mid:0"]);
}

/// The offer has `setup:actpass`; why it is narrowed is in `sip_secure.rs`.
#[test]
fn keys_and_fingerprints_pass() {
    let secure = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n\
                  a=fingerprint:sha-256 12:34\na=setup:active\na=tls-id:abc3de65cddef001be82\na=dtls-id:1\n";
    let offered = secure.replace("setup:active", "setup:actpass");
    let up = forwarded(&sdp(PHONE, &offered).replace("RTP/AVP", "RTP/SAVP"));
    assert_eq!(lines(&up, "a=")[1..].join("\n") + "\n", secure);
    assert!(lines(&up, "m=")[0].ends_with(" RTP/SAVP 0"));
}

#[test]
fn lines_that_carry_other_addresses_are_stripped() {
    let leaks = "a=X-nat:0\na=alt:1 1 : a b 192.168.1.10 5004\na=altc:1 IP4 192.168.1.10 5004\n\
                 a=source-filter: incl IN IP4 * 192.168.1.10\na=x-kept:1\n";
    let up = forwarded(&sdp(PHONE, leaks));
    assert_eq!(lines(&up, "a="), ["a=rtpmap:0 PCMU/8000", "a=x-kept:1"]);
    assert!(!up.text().contains("192.168."), "{}", up.text());
}

#[test]
fn text_of_t140_keeps_its_profile() {
    let text = "m=text 5010 RTP/AVPF 98\na=rtpmap:98 t140/1000\na=fmtp:98 cps=30\n";
    let up = forwarded(&sdp(PHONE, text));
    assert_eq!(lines(&up, "m=text"), [format!("m=text {} RTP/AVPF 98", port(&up, 1))]);
    assert_eq!(lines(&up, "a=")[1..], ["a=rtpmap:98 t140/1000", "a=fmtp:98 cps=30"]);
}

const FAX: &str = "m=image 5004 udptl t38\na=T38FaxVersion:0\na=T38FaxUdpEC:t38UDPRedundancy\n";

fn fax(media: &str) -> String {
    let (ip, port) = media.rsplit_once(':').expect("an address and a port");
    format!("v=0\no=- 1 2 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\n{FAX}").replace("5004", port)
}

/// UDPTL with this sequence number.
fn udptl(sequence: u16) -> Vec<u8> {
    [&sequence.to_be_bytes()[..], &[1, 6, 0, 0]].concat()
}

#[test]
fn t38_in_place_of_audio_keeps_ports_and_latch() {
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
    call.latch();
    assert!(sent_to(call.core_speaks(PEER, &rtp(1, 8)), NAT_MEDIA));
    let offer = call.core_asks(1, &fax(PEER));
    assert_eq!(lines(&offer, "m="), [format!("m=image {} udptl t38", port(&call.shown(), 0))]);
    assert!(sent_to(call.caller_speaks(&rtp(20, 7)), PEER), "audio until it is answered");
    let answer = call.caller_answers(&offer, &fax(PHONE));
    assert_eq!(lines(&answer, "m="), [format!("m=image {} udptl t38", port(&call.up, 0))]);
    assert!(sent_to(call.core_speaks(PEER, &udptl(0)), NAT_MEDIA), "the latch is kept");
    for sequence in [0, 1, 0x8000, 0x8001] {
        assert!(sent_to(call.caller_speaks(&udptl(sequence)), PEER), "{sequence}");
    }
    assert_eq!(call.caller_speaks(&rtp(21, 7)), Verdict::Drop(DropReason::PayloadType), "late RTP");
    assert_eq!(call.core_speaks(PEER, &rtp(2, 8)), Verdict::Drop(DropReason::PayloadType), "late RTP");
    let back = call.core_asks(2, &sdp(PEER, ""));
    call.caller_answers(&back, &sdp(PHONE, ""));
    assert!(sent_to(call.caller_speaks(&rtp(22, 7)), PEER), "and back to audio");
    assert_eq!(totals(&mut call.world).1, 4);
}

#[test]
fn t38_that_is_refused_leaves_the_audio() {
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
    call.latch();
    let offer = call.core_asks(1, &fax(PEER));
    let refused = response(&offer, "488 Not Acceptable Here", "a", None);
    call.world.terminal_sends(NAT, &refused);
    assert!(sent_to(call.caller_speaks(&rtp(20, 7)), PEER));
    assert!(sent_to(call.core_speaks(PEER, &rtp(1, 8)), NAT_MEDIA));
    assert_eq!(call.core_speaks(PEER, &udptl(0)), Verdict::Drop(DropReason::NotRtp));
}

#[test]
fn t38_beside_audio_of_port_zero_takes_the_place_of_its_ports() {
    let beside = |ip: &str, port: u16| sdp(&format!("{ip}:0"), &FAX.replace("5004", &port.to_string()));
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
    call.world.pass(std::time::Duration::from_secs(33));
    call.latch();
    let offer = call.core_asks(1, &beside("10.0.0.21", 30_010));
    assert_eq!((port(&offer, 0), totals(&mut call.world).1), (0, 8));
    let answer = call.caller_answers(&offer, &beside("192.168.1.10", 5010));
    assert_eq!((port(&answer, 0), totals(&mut call.world).1), (0, 4));
    let verdict = call.world.media(ACCESS, port(&offer, 1), NAT_MEDIA, &udptl(0));
    let out = MediaPort { realm: CORE, port: port(&answer, 1) };
    assert_eq!(verdict, Verdict::Forward { out, to: addr("10.0.0.21:30010") });
}

const MSRP: &str = "m=message 2855 TCP/TLS/MSRP *\nc=IN IP4 192.168.1.10\na=path:msrps://192.168.1.10:2855/s;tcp\n\
                    a=setup:active\n";
const BFCP: &str = "m=application 5070 TCP/BFCP *\na=floorctrl:c-only\na=setup:active\na=connection:new\n";

#[test]
fn media_over_tcp_is_refused_by_port_zero_and_leaks_nothing() {
    let mut call = Call::invited(&sdp(PHONE, &format!("{MSRP}{BFCP}")));
    assert_eq!(lines(&call.up, "m=message"), ["m=message 0 TCP/TLS/MSRP *"]);
    assert_eq!(lines(&call.up, "m=application"), ["m=application 0 TCP/BFCP *"]);
    assert_eq!(lines(&call.up, "a="), ["a=rtpmap:0 PCMU/8000"]);
    assert!(!call.up.text().contains("192.168."), "{}", call.up.text());
    let up = call.up.clone();
    let answer = format!("{}m=message 0 TCP/TLS/MSRP *\nm=application 0 TCP/BFCP *\n", sdp(PEER, ""));
    let shown = call.core_answers(&up, "200 OK", Some(&answer));
    assert_eq!([port(&shown, 1), port(&shown, 2)], [0, 0], "the offerer sees a refusal");
    assert_eq!(totals(&mut call.world).1, 4);
}

#[test]
fn an_offer_of_nothing_but_tcp_is_answered_488() {
    let mut call = Call::invited(&format!("{HEAD}c=IN IP4 192.168.1.10\nt=0 0\n{MSRP}"));
    assert!(call.up.text().starts_with("SIP/2.0 488 "), "{}", call.up.text());
    assert!(call.up.header("Warning").starts_with("302 portolan "), "{}", call.up.text());
    assert_eq!(totals(&mut call.world), (0, 0));
    let mut call = Call::established(&sdp(PHONE, ""), &sdp(PEER, ""));
    let refused = call.caller_asks(2, &format!("{HEAD}c=IN IP4 192.168.1.10\nt=0 0\n{MSRP}"));
    assert!(refused.text().starts_with("SIP/2.0 488 "), "{}", refused.text());
    assert!(sent_to(call.caller_speaks(&rtp(1, 7)), PEER));
}

#[test]
fn bfcp_over_udp_is_relayed() {
    let up =
        forwarded(&sdp(PHONE, "m=application 5070 UDP/BFCP *\na=floorctrl:c-only\na=floorid:1 mstrm:10\n"));
    assert_ne!(port(&up, 1), 0);
    assert_eq!(lines(&up, "a=floor"), ["a=floorctrl:c-only", "a=floorid:1 mstrm:10"]);
}

#[test]
fn isup_and_pidf_lo_beside_a_description_stay_as_they_are() {
    let isup: &[u8] =
        b"Content-Type: application/isup;version=itu-t92+\r\n\r\n\x01\x00\x0a\x0d\xff 192.168.1.10 \x80";
    let pidf = "Content-Type: application/pidf+xml\r\nContent-ID: <x@y>\r\n\r\n<gml:pos>1 2</gml:pos>\n";
    let description = sdp(PHONE, "").replace('\n', "\r\n");
    let mut parts = b"--edge\r\nContent-Type: application/sdp\r\n\r\n".to_vec();
    parts.extend(description.as_bytes());
    parts.extend(b"\r\n--edge\r\n");
    parts.extend(isup);
    parts.extend(b"\r\n--edge\r\n");
    parts.extend(pidf.as_bytes());
    parts.extend(b"\r\n--edge--\r\n");
    let head = invite(None).replace(
        "Content-Length: 0",
        &format!("Content-Type: multipart/mixed;boundary=edge\nContent-Length: {}", parts.len()),
    );
    let message = [head.replace('\n', "\r\n").as_bytes(), &parts].concat();
    let up = raw(&message).remove(0);
    let within = |needle: &[u8]| up.bytes.windows(needle.len()).any(|window| window == needle);
    assert!(within(isup) && within(pidf.as_bytes()));
    assert!(within(b"c=IN IP4 10.0.0.10\r\n") && !within(b"c=IN IP4 192.168.1.10"));
    let length: usize = up.header("Content-Length").parse().expect("a number");
    let start = up.bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a body") + 4;
    assert_eq!(up.bytes.len() - start, length);
}

/// Octets of a terminal, as they are.
fn raw(message: &[u8]) -> Vec<Sent> {
    let (local, remote) = (addr("198.51.100.10:5060"), addr(NAT));
    let flow = Flow { realm: ACCESS, transport: Transport::Udp, local, remote, stream: None };
    World::new(mapping(1)).deliver_raw(0, flow, message)
}

#[test]
fn a_description_in_an_answer_to_options_opens_nothing() {
    let mut world = World::new(mapping(1));
    let options = request_outside("OPTIONS");
    let up = world.terminal_sends(NAT, &options).remove(0);
    let ok = response(&up, "200 OK", "b", Some(&sdp(PEER, "")));
    let down = world.core_sends(&up.flow.local.to_string(), &ok).remove(0);
    assert_eq!((port(&down, 0), totals(&mut world)), (0, (0, 0)));
    assert_eq!(lines(&down, "c="), ["c=IN IP4 198.51.100.10"]);
}

fn request_outside(method: &str) -> String {
    end(
        &format!(
            "{method} sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKo;rport\n\
             Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\nCall-ID: o\n\
             CSeq: 1 {method}\n"
        ),
        None,
    )
}

#[test]
fn line_ends_of_any_kind_and_a_missing_last_one_are_kept() {
    let text = sdp(PHONE, "");
    for (ends, last) in [("\r\n", ""), ("\n", "\n"), ("\n", "")] {
        let description = text.trim_end().replace('\n', ends) + last;
        let up = raw(&message_with("application/sdp", &description)).remove(0);
        let seen = body(&up);
        assert!(seen.contains(&format!("c=IN IP4 10.0.0.10{ends}")), "{seen:?}");
        assert!(seen.ends_with(&format!("a=rtpmap:0 PCMU/8000{last}")), "{seen:?}");
        assert_eq!(seen.contains('\r'), ends == "\r\n");
    }
}

fn message_with(kind: &str, body: &str) -> Vec<u8> {
    let head = invite(None)
        .replace("Content-Length: 0", &format!("content-type: {kind}\nCONTENT-LENGTH: {}", body.len()));
    [head.replace('\n', "\r\n").as_bytes(), body.as_bytes()].concat()
}

#[test]
fn the_media_type_is_known_in_any_case_and_with_parameters() {
    for kind in ["Application/SDP", "application/sdp ; charset=utf-8", "APPLICATION/sdp"] {
        let up = raw(&message_with(kind, &sdp(PHONE, ""))).remove(0);
        assert!(up.text().contains("c=IN IP4 10.0.0.10"), "{kind}: {}", up.text());
        assert!(!up.text().contains("192.168.1.10"), "{}", up.text());
    }
}

/// b= says what its writer wants to receive (RFC 3264 section 5): the offer's does not bind who offered.
#[test]
fn the_bandwidth_that_the_receiver_states_is_what_may_be_sent() {
    let passed = |bandwidth: &str, level: &str| {
        let answer = sdp(PEER, "").replace(level, &format!("{level}{bandwidth}"));
        assert!(answer.contains(bandwidth), "{answer}");
        let mut call = Call::established(&sdp(PHONE, "b=AS:8\n"), &answer);
        let flood = (0..1_000).filter(|n| sent_to(call.caller_speaks(&rtp(*n, 7)), PEER));
        flood.count()
    };
    let (session, stream) = ("t=0 0\n", "RTP/AVP 0\n");
    let narrow = passed("b=AS:8\n", stream);
    assert!(narrow < passed("", stream), "no more than 8 kbit/s and its margin: {narrow}");
    assert!(passed("", stream) < passed("b=AS:2000\n", stream));
    assert_eq!(passed("b=AS:8\n", session), narrow);
}
