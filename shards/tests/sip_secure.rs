//! SRTP, DTLS and ICE in session descriptions: what passes, what is refused, and what both ends are shown where they keep ICE.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::realm::{Ice, Realm, SecureMedia};
use portolan_shards::types::MediaPort;
use std::sync::Arc;
use support::call::{self, NAT_MEDIA, core_request, invite, port, request, response, sdp};
use support::{ACCESS, CORE, NAT, Sent, World, addr, mapping, rtp};

const PHONE: &str = "192.168.1.10:5004";
const PEER: &str = "10.0.0.21:30000";
const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n";
const DTLS: &str = "a=fingerprint:sha-256 12:34\na=setup:actpass\na=tls-id:abc3de65cddef001be82\n";
const AGENT: &str = "a=ice-ufrag:F7gI\na=ice-pwd:x9cml/YzichV2+XlhiMu8g\n";
const HOST: &str = "a=candidate:H7 1 UDP 2130706431 192.168.1.10 5004 typ host\n";
const REFLEXIVE: &str =
    "a=candidate:S7 1 udp 1694498815 203.0.113.7 51000 typ srflx raddr 192.168.1.10 rport 5004\n";

/// A call from a terminal whose realm has these rules.
struct Call {
    world: World,
    up: Sent,
}

fn world(rules: impl Fn(Realm) -> Realm) -> World {
    let mut mapping = mapping(1);
    mapping.realms[0] = Arc::new(rules((*mapping.realms[0]).clone()));
    World::new(mapping)
}

fn keeping() -> World {
    world(|realm| Realm { ice: Ice::Keep, ..realm })
}

fn refusing() -> World {
    world(|realm| Realm { secure_media: SecureMedia::Refuse, ..realm })
}

impl Call {
    fn invited(mut world: World, body: &str) -> Self {
        let up = world.terminal_sends(NAT, &invite(Some(body))).remove(0);
        Self { world, up }
    }

    fn core_answers(&mut self, body: &str) -> Sent {
        let text = response(&self.up, "200 OK", "b", Some(body));
        let sent = self.world.core_sends(&self.up.flow.local.to_string(), &text);
        call::sent_to(sent, ACCESS)
    }

    fn core_asks(&mut self, method: &str, cseq: u32, body: &str) -> Sent {
        let text = core_request(&self.up, "b", method, cseq, Some(body));
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }
}

/// The attributes but for the codec's.
fn attributes(sent: &Sent) -> Vec<String> {
    let text = sent.text();
    let attributes = text.lines().filter(|line| line.starts_with("a=") && !line.starts_with("a=rtpmap"));
    attributes.map(str::to_owned).collect()
}

fn up(world: World, media: &str, more: &str) -> Sent {
    Call::invited(world, &sdp(media, more)).up
}

fn split(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn ours(sent: &Sent, address: &str, component: u16) -> String {
    let (priority, port) = (2_130_706_432 - u32::from(component), port(sent, 0) + component - 1);
    format!("a=candidate:1 {component} UDP {priority} {address} {port} typ host")
}

fn secured(body: &str, proto: &str) -> String {
    body.replace("RTP/AVP", proto)
}

#[test]
fn keys_pass_as_they_are() {
    for (lines, proto) in
        [(CRYPTO.to_owned(), "RTP/SAVP"), (DTLS.replace("actpass", "active"), "UDP/TLS/RTP/SAVPF")]
    {
        let mut call = Call::invited(world(|realm| realm), &secured(&sdp(PHONE, &lines), proto));
        assert_eq!(attributes(&call.up), split(&lines));
        assert!(call.up.text().contains(&format!("{proto} 0\r\n")));
        let answer = lines.replace("active", "passive");
        let shown = call.core_answers(&secured(&sdp(PEER, &answer), proto));
        assert_eq!(attributes(&shown), split(&answer));
    }
}

/// RFC 8842: who offers both roles takes either. A terminal that announces another host than it signals from hears no
/// handshake before it has sent one.
#[test]
fn behind_a_nat_the_terminal_begins_the_handshake() {
    let body =
        |media: &str, setup: &str| secured(&sdp(media, &DTLS.replace("actpass", setup)), "UDP/TLS/RTP/SAVP");
    let role =
        |sent: &Sent| attributes(sent).into_iter().find(|line| line.starts_with("a=setup:")).expect("a role");
    let offered = |media, setup| role(&Call::invited(world(|realm| realm), &body(media, setup)).up);
    assert_eq!(offered(PHONE, "actpass"), "a=setup:active");
    assert_eq!(offered("203.0.113.7:5004", "actpass"), "a=setup:actpass", "no NAT");
    assert_eq!(offered(PHONE, "passive"), "a=setup:passive", "what was chosen stays");
    let session = sdp(PHONE, "a=fingerprint:sha-256 12:34\n").replace("t=0 0\n", "t=0 0\na=setup:actpass\n");
    assert_eq!(role(&Call::invited(world(|realm| realm), &session).up), "a=setup:active");
    let mut call = Call::invited(world(|realm| realm), &body(PHONE, "actpass"));
    assert_eq!(
        role(&call.core_answers(&body(PEER, "active"))),
        "a=setup:passive",
        "it was told that its peer is"
    );
    let mut chosen = Call::invited(world(|realm| realm), &body(PHONE, "passive"));
    assert_eq!(
        role(&chosen.core_answers(&body(PEER, "active"))),
        "a=setup:active",
        "as the terminal wants it"
    );
    assert_eq!(role(&call.core_asks("INVITE", 7, &body(PEER, "actpass"))), "a=setup:passive");
}

#[test]
fn a_handshake_passes_between_the_ends_of_a_call() {
    let body = |media: &str| secured(&sdp(media, DTLS), "UDP/TLS/RTP/SAVP");
    let mut call = Call::invited(world(|realm| realm), &body(PHONE));
    let shown = call.core_answers(&body(PEER));
    let hello = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40][..], &[1; 40]].concat();
    let verdict = call.world.media(ACCESS, port(&shown, 0), NAT_MEDIA, &hello);
    assert_eq!(verdict, Verdict::Forward { out: media(CORE, port(&call.up, 0)), to: addr(PEER) });
    let verdict = call.world.media(CORE, port(&call.up, 0), PEER, &hello);
    assert_eq!(verdict, Verdict::Forward { out: media(ACCESS, port(&shown, 0)), to: addr(NAT_MEDIA) });
    let bye = request(&shown, "BYE", 2, None);
    call.world.terminal_sends(NAT, &bye);
    let verdict = call.world.media(ACCESS, port(&shown, 0), NAT_MEDIA, &hello);
    assert_eq!(verdict, Verdict::Drop(DropReason::GateClosed));
}

fn media(realm: portolan_shards::types::RealmId, port: u16) -> MediaPort {
    MediaPort { realm, port }
}

#[test]
fn where_ciphered_media_is_refused_plain_media_is_agreed() {
    for proto in ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/UDPTL", "UDP/DTLS/SCTP"] {
        let answer = up(refusing(), PHONE, CRYPTO).text();
        assert!(answer.starts_with("INVITE "), "plain RTP with keys beside it");
        let refused = Call::invited(refusing(), &secured(&sdp(PHONE, CRYPTO), proto)).up;
        assert!(refused.text().starts_with("SIP/2.0 488 "), "{proto}: {}", refused.text());
    }
    for keys in [CRYPTO, DTLS, "a=key-mgmt:mikey AQAF\na=zrtp-hash:1.10 aa\n"] {
        assert_eq!(attributes(&up(refusing(), PHONE, keys)), [""; 0], "{keys}");
    }
    let both = sdp(PHONE, "") + &secured("m=audio 5006 RTP/AVP 0\n", "RTP/SAVP") + CRYPTO;
    let sent = Call::invited(refusing(), &both).up;
    assert!(port(&sent, 0) != 0 && port(&sent, 1) == 0 && attributes(&sent).is_empty(), "{}", sent.text());
}

#[test]
fn where_ice_is_kept_each_end_sees_one_candidate_and_it_is_ours() {
    let more = format!("{AGENT}{HOST}{REFLEXIVE}a=remote-candidates:1 198.51.100.10 20000\na=rtcp-mux\n");
    let body = sdp(PHONE, &more).replace("t=0 0\n", "t=0 0\na=ice-options:ice2\na=group:BUNDLE 0\n");
    let mut call = Call::invited(keeping(), &body);
    let expected = [
        &["a=ice-options:ice2".to_owned()][..],
        &split(AGENT),
        &[ours(&call.up, "10.0.0.10", 1), "a=rtcp-mux".to_owned()],
    ];
    assert_eq!(attributes(&call.up), expected.concat());
    assert!(
        !call.up.text().contains("192.168.") && !call.up.text().contains("203.0.113."),
        "{}",
        call.up.text()
    );
    let lite = format!(
        "a=ice-lite\n{AGENT}a=rtcp-mux\na=candidate:9 1 UDP 1 10.0.0.21 30000 typ host\na=end-of-candidates\n"
    );
    let shown = call.core_answers(&sdp(PEER, &lite));
    let expected = [
        &["a=ice-lite".to_owned()][..],
        &split(AGENT),
        &["a=rtcp-mux".to_owned(), ours(&shown, "198.51.100.10", 1)],
    ];
    assert_eq!(attributes(&shown), [&expected.concat()[..], &["a=end-of-candidates".to_owned()]].concat());
}

#[test]
fn rtcp_on_a_port_of_its_own_has_a_candidate_of_its_own() {
    let second = "a=candidate:H7 2 UDP 2130706430 192.168.1.10 5005 typ host\n";
    let candidates = |more: &str| {
        let sent = up(keeping(), PHONE, &format!("{AGENT}{more}"));
        let two = [1, 2].map(|component| ours(&sent, "10.0.0.10", component));
        let found: Vec<_> = attributes(&sent).into_iter().filter(|line| line.contains("candidate")).collect();
        assert_eq!(found, two[..found.len()], "{more}");
        found.len()
    };
    assert_eq!(candidates(HOST), 1, "the writer uses none");
    assert_eq!(candidates(&format!("{HOST}{second}")), 2);
    assert_eq!(
        candidates(&format!("{HOST}{second}a=rtcp-mux\n")),
        2,
        "in case the answer does not multiplex"
    );
    assert_eq!(candidates(""), 2);
    assert_eq!(candidates("a=rtcp-mux\n"), 1);
}

/// RFC 8840: the default address stands for candidates that come by INFO; ours are complete from the start.
#[test]
fn trickled_candidates_are_not_needed_and_go_nowhere() {
    let more = format!("a=rtcp:9 IN IP4 0.0.0.0\na=rtcp-mux\n{AGENT}a=ice-options:trickle\n");
    let mut call = Call::invited(keeping(), &sdp("0.0.0.0:9", &more));
    let text = call.up.text();
    assert!(text.contains("\r\nc=IN IP4 10.0.0.10\r\n") && !text.contains("0.0.0.0"), "{text}");
    assert!(attributes(&call.up).contains(&ours(&call.up, "10.0.0.10", 1)), "{text}");
    let shown = call.core_answers(&sdp(PEER, &format!("{AGENT}a=rtcp-mux\n")));
    let fragment = format!(
        "{AGENT}m=audio 9 RTP/AVP 0\r\nc=IN IP4 192.168.1.10\r\na=mid:1\r\n{HOST}{REFLEXIVE}a=end-of-candidates\r\n"
    );
    let info = request(&shown, "INFO", 2, Some(&fragment));
    let info = info.replace("application/sdp", "application/trickle-ice-sdpfrag");
    let sent = call.world.terminal_sends(NAT, &info).remove(0);
    let body = sent.text().split_once("\r\n\r\n").expect("a body").1.replace('\r', "");
    assert_eq!(body, format!("{AGENT}m=audio 9 RTP/AVP 0\na=mid:1\na=end-of-candidates\n"));
    for n in 0..6 {
        call.world.media(ACCESS, port(&shown, 0), NAT_MEDIA, &rtp(n, 7));
    }
    let heard = call.world.media(CORE, port(&call.up, 0), PEER, &rtp(1, 8));
    assert_eq!(
        heard,
        Verdict::Forward { out: media(ACCESS, port(&shown, 0)), to: addr(NAT_MEDIA) },
        "not on hold"
    );
}

/// RFC 8839 section 4.4.1.2.2: who has finished may offer what it chose. Between us that is our own address on the other side.
#[test]
fn an_update_that_names_our_own_address_moves_nothing() {
    let more = format!("{AGENT}a=rtcp-mux\n");
    let mut call = Call::invited(keeping(), &sdp(PHONE, &more));
    let shown = call.core_answers(&sdp(PEER, &more));
    let there = format!("198.51.100.10:{}", port(&shown, 0));
    let asked = call.core_asks("INVITE", 7, &sdp(&there, &more));
    let answer =
        response(&asked, "200 OK", "a", Some(&sdp(&format!("10.0.0.10:{}", port(&call.up, 0)), &more)));
    let ok = call.world.terminal_sends(NAT, &answer).remove(0);
    assert!(ok.text().starts_with("SIP/2.0 200 "), "{}", ok.text());
    for n in 0..6 {
        call.world.media(ACCESS, port(&shown, 0), NAT_MEDIA, &rtp(n, 7));
    }
    let at = port(&shown, 0);
    let verdict = call.world.media(ACCESS, at, NAT_MEDIA, &rtp(6, 7));
    assert_eq!(verdict, Verdict::Forward { out: media(CORE, port(&call.up, 0)), to: addr(PEER) });
    let verdict = call.world.media(CORE, port(&call.up, 0), PEER, &rtp(1, 8));
    assert_eq!(verdict, Verdict::Forward { out: media(ACCESS, at), to: addr(NAT_MEDIA) });
}

#[test]
fn who_has_no_ice_is_told_of_none_and_checks_do_not_pass() {
    let mut call = Call::invited(keeping(), &sdp(PHONE, &format!("{AGENT}{HOST}")));
    let shown = call.core_answers(&sdp(PEER, ""));
    assert_eq!(attributes(&shown), [""; 0]);
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[1; 12]].concat();
    let verdict = call.world.media(ACCESS, port(&shown, 0), NAT_MEDIA, &request);
    assert_eq!(verdict, Verdict::Drop(DropReason::NotRtp));
}
