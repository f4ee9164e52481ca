//! The SDP scanner as its users see it.

use portolan_shards::fault::Fault;
use portolan_shards::limits::MAX_STREAMS;
use portolan_shards::wire::sdp::{self, Direction, Sdp};

const OFFER: &str = "v=0\r\n\
    o=alice 2890844526 2890844527 IN IP4 10.47.16.5\r\n\
    s=-\r\n\
    c=IN IP4 10.47.16.5\r\n\
    b=AS:500\r\n\
    t=0 0\r\n\
    a=sendonly\r\n\
    a=group:BUNDLE 0 1\r\n\
    m=audio 49170/2 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=ptime:30\r\n\
    a=rtcp:53020 IN IP6 2001:db8::4\r\n\
    a=recvonly\r\n\
    m=video 0 RTP/SAVPF 96\r\n\
    c=IN IP4 233.252.0.1/127/3\r\n\
    c=IN IP4 233.252.0.4/127\r\n\
    b=TIAS:64001\r\n\
    b=AS:70\r\n\
    a=rtcp-mux\r\n\
    m=image 6800 udptl t38\r\n\
    c=IN IP6 ::\r\n\
    b=TIAS:14400\r\n";

fn text(span: portolan_shards::wire::Span) -> &'static str {
    std::str::from_utf8(span.of(OFFER.as_bytes())).expect("the offer is ASCII")
}

fn fault(text: &str) -> Fault {
    Sdp::parse(text.as_bytes()).expect_err("refused")
}

#[test]
fn the_session_level_is_read() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let origin = sdp.origin.unwrap();
    assert_eq!((text(origin.sess_version), text(origin.addrtype)), ("2890844527", "IP4"));
    assert_eq!(text(origin.address), "10.47.16.5");
    assert_eq!(text(sdp.connection.unwrap().line), "c=IN IP4 10.47.16.5\r\n");
    assert_eq!((sdp.direction, sdp.bandwidth_as), (Some(Direction::SendOnly), Some(500)));
    assert_eq!(sdp.line_end(), b"\r\n");
}

#[test]
fn media_sections_keep_order_and_number() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let lines: Vec<_> =
        sdp.media.iter().map(|m| (text(m.kind), m.port, text(m.proto), text(m.formats))).collect();
    assert_eq!(
        lines,
        [
            ("audio", 49170, "RTP/AVP", "0 8 101"),
            ("video", 0, "RTP/SAVPF", "96"),
            ("image", 6800, "udptl", "t38")
        ]
    );
    assert_eq!(text(sdp.media[0].port_span), "49170");
    assert_eq!(text(sdp.media[0].count.unwrap()), "/2");
    assert!(text(sdp.media[2].section).starts_with("m=image") && sdp.media[2].section.end == OFFER.len());
}

#[test]
fn attributes_and_rates_are_read() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let [audio, video, image] = &sdp.media[..] else { panic!("three sections") };
    let rtcp = audio.rtcp.unwrap();
    assert_eq!(
        (rtcp.port, text(rtcp.port_span), text(rtcp.address.unwrap())),
        (53020, "53020", "2001:db8::4")
    );
    assert_eq!((audio.ptime, sdp.direction_of(audio)), (Some(30), Direction::RecvOnly));
    assert_eq!(
        (video.rtcp_mux.map(text), sdp.direction_of(video)),
        (Some("a=rtcp-mux\r\n"), Direction::SendOnly)
    );
    assert_eq!([audio, video, image].map(|m| m.bandwidth_as), [None, Some(70), Some(15)]);
    assert_eq!([audio, video, image].map(|m| sdp.rtp(m)), [true, true, false]);
}

#[test]
fn payload_types_are_those_of_rtp_only() {
    let sdp = Sdp::parse(b"m=audio 1 RTP/AVP 0 8 63 64 127 128 x\r\nm=image 1 udptl 5\r\n").unwrap();
    let listed: Vec<u8> = (0..=255).filter(|&n| sdp.media[0].has_payload_type(n)).collect();
    assert_eq!(listed, [0, 8, 63, 64, 127]);
    assert_eq!(sdp.media[1].payload_types, [0, 0]);
}

#[test]
fn a_section_uses_the_session_address_unless_it_has_its_own() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    assert_eq!(sdp.address_of(&sdp.media[0]), "10.47.16.5".parse().ok());
    assert_eq!(sdp.address_of(&sdp.media[1]), "233.252.0.1".parse().ok());
    assert!(sdp.connection_of(&sdp.media[2]).unwrap().is_unspecified());
    let values: Vec<_> = sdp.connections().map(|c| (text(c.address), text(c.value))).collect();
    assert_eq!(values[1..3], [("233.252.0.1", "233.252.0.1/127/3"), ("233.252.0.4", "233.252.0.4/127")]);
    assert_eq!(values.len(), 4);
}

#[test]
fn lines_say_where_they_are() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let all: String = sdp.lines().map(|l| text(l.line)).collect();
    assert_eq!(all, OFFER);
    let group = sdp.lines().find(|l| text(l.value).starts_with("group")).unwrap();
    assert_eq!((group.kind, group.media, text(group.value)), (b'a', None, "group:BUNDLE 0 1"));
    assert_eq!(sdp.lines().last().unwrap().media, Some(2));
}

#[test]
fn lf_only_no_last_line_end_and_unknown_lines_pass() {
    let odd = b"v=0\nzz\n\ny=01\nb=AS\nb=\na=ptime:\nc=in ip4 192.0.2.1 \nm=audio 5 rtp/avp";
    let sdp = Sdp::parse(odd).unwrap();
    assert_eq!((sdp.line_end(), sdp.bandwidth_as), (&b"\n"[..], None));
    assert_eq!(sdp.address_of(&sdp.media[0]), "192.0.2.1".parse().ok());
    assert!(sdp.rtp(&sdp.media[0]) && sdp.media[0].formats.is_empty());
    assert_eq!(sdp.lines().filter(|l| l.kind == 0).count(), 2);
    assert!(Sdp::parse(b"").unwrap().media.is_empty());
}

#[test]
fn choose_is_accepted_for_ports_and_addresses() {
    let sdp = Sdp::parse(b"v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0\r\n").unwrap();
    assert!(sdp.media[0].choose && sdp.media[0].port == 0);
    assert_eq!(sdp.address_of(&sdp.media[0]), None);
    let sdp = Sdp::parse(b"v=0\r\nc=IN $ $\r\nm=audio $ RTP/AVP 0\r\n").unwrap();
    assert_eq!(sdp.address_of(&sdp.media[0]), None);
}

#[test]
fn host_names_and_ambiguous_addresses_have_no_ip() {
    for address in ["media.example.com", "192.000.002.001", "$"] {
        let text = format!("c=IN IP4 {address}\r\n");
        let connection = Sdp::parse(text.as_bytes()).unwrap().connection.unwrap();
        assert_eq!((connection.ip, connection.address.of(text.as_bytes())), (None, address.as_bytes()));
    }
}

#[test]
fn the_user_name_of_the_origin_may_be_several_words_or_none() {
    for text in ["o=Cisco Systems 9 8 IN IP4 192.0.2.1 \r\n", "o= 9 8 IN IP4 192.0.2.1"] {
        let origin = Sdp::parse(text.as_bytes()).unwrap().origin.unwrap();
        assert_eq!(origin.sess_version.of(text.as_bytes()), b"8");
        assert_eq!(origin.address.of(text.as_bytes()), b"192.0.2.1");
    }
}

#[test]
fn what_cannot_be_rewritten_is_refused_by_name() {
    for (text, what) in [
        ("o=- 1 1 IN IP4\r\n", "o= line"),
        ("o=- 1 1 XX IP4 a\r\n", "o= line"),
        ("o=- 1 1 IN IP4 a\r\no=- 1 1 IN IP4 a\r\n", "two o= lines"),
        ("m=audio 1 RTP/AVP 0\r\no=- 1 1 IN IP4 a\r\n", "o= line in a media section"),
        ("c=IN IP4\r\n", "c= line"),
        ("c=IN IP5 a\r\n", "c= line"),
        ("c=IN IP4 /127\r\n", "c= line"),
        ("m=audio\r\n", "m= line"),
        ("m=audio 65536 RTP/AVP 0\r\n", "m= port"),
        ("m=audio 4294967300 RTP/AVP 0\r\n", "m= port"),
        ("m=audio -1 RTP/AVP 0\r\n", "m= port"),
        ("m=audio 1/x RTP/AVP 0\r\n", "m= number of ports"),
        ("m=audio 1 RTP/AVP 0\r\na=rtcp:70000\r\n", "rtcp attribute"),
        ("m=audio 1 RTP/AVP 0\r\na=rtcp:7 IN IP4\r\n", "rtcp attribute"),
        ("m=audio 1 RTP/AVP 0\r\na=rtcp:7\r\na=rtcp:8\r\n", "two rtcp attributes"),
        ("a=RTCP :7 IN IP4 a\r\n", "rtcp attribute at session level"),
        ("s=x\rc=IN IP4 10.0.0.1\r\n", "CR within a line of SDP"),
    ] {
        assert_eq!(fault(text), Fault::Malformed(what), "{text}");
    }
}

#[test]
fn streams_are_limited() {
    let many = "m=audio 1 RTP/AVP 0\r\n".repeat(MAX_STREAMS);
    assert_eq!(Sdp::parse(many.as_bytes()).unwrap().media.len(), MAX_STREAMS);
    assert!(matches!(fault(&format!("{many}m=audio 1 RTP/AVP 0\r\n")), Fault::Refused(_)));
}

#[test]
fn attributes_are_classified() {
    for place in ["candidate:1 1 UDP 2 10.0.0.1 9 typ host", "Remote-Candidates:1 192.0.2.1 9"] {
        assert!(sdp::is_candidate(place.as_bytes()) && sdp::is_ice(place.as_bytes()), "{place}");
    }
    for ice in ["ICE-ufrag:x", "ice-lite", "ice-pacing:50", "end-of-candidates"] {
        assert!(sdp::is_ice(ice.as_bytes()) && !sdp::is_candidate(ice.as_bytes()), "{ice}");
    }
    for bundle in ["group:BUNDLE a b", "group: bundle", "bundle-only"] {
        assert!(sdp::is_bundle(bundle.as_bytes()) && !sdp::is_ice(bundle.as_bytes()), "{bundle}");
    }
    for key in
        ["crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "fingerprint:sha-256 00", "SETUP:active", "tls-id:x"]
    {
        assert!(sdp::is_keying(key.as_bytes()), "{key}");
    }
    for other in
        ["mid:0", "group:LS a b", "group", "rtcp-mux", "icecream", "rtpmap:0 PCMU/8000", "cryptox:1", ""]
    {
        let other = other.as_bytes();
        assert!(!sdp::is_ice(other) && !sdp::is_bundle(other) && !sdp::is_keying(other));
    }
    for leak in [
        "altc:1 IP4 192.0.2.1 9",
        "alt:1 1 : a b 10.0.0.1 9",
        "X-nat:2",
        "source-filter: incl IN IP4 * 192.0.2.1",
    ] {
        assert!(sdp::is_address_leak(leak.as_bytes()) && !sdp::is_ice(leak.as_bytes()), "{leak}");
    }
    assert!(!sdp::is_address_leak(b"fmtp:101 0-15"));
}
