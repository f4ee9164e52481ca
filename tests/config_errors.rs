//! Every mistake in a configuration is told with its exact place and a hint.

use portolan::mapping::{Loader, Machine, Problem, Severity};
use proptest::prelude::*;

const GOOD: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "127.0.1.1", sip: [Udp(5060)], media: (16384, 32767)),
        "core": (side: Core, address: "127.0.2.1", sip: [Udp(5060)], per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { "sx": (realm: "core", targets: ["127.0.3.1:5060"], domain: "example.net") },
    mappings: [(access: "access", softswitch: "sx")],
    keepalive: (interval_s: 25, misses: 3),
    admin: (listen: "127.0.0.1:9060"),
)
"#;

/// The complaints about `GOOD` with one change: `line:column+width severity: message | hint`.
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let machine = Machine { ephemeral: Some(32_768..=60_999), ..Machine::with_cores(2) };
    let problems = match Loader::new(machine).parse(&GOOD.replacen(from, to, 1), "x.ron") {
        Ok(loaded) => loaded.warnings,
        Err(errors) => errors.0,
    };
    problems.iter().map(line).collect()
}

fn line(problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = problem.place.as_ref().expect("a parsed text has places");
    let hint = problem.hint.as_deref().unwrap_or("-");
    format!("{}:{}+{} {severity}: {} | {hint}", place.line, place.column, place.width, problem.message)
}

macro_rules! mistakes {
    ($($name:ident: $from:expr => $to:expr, [$($complaint:expr),* $(,)?];)+) => {
        $(#[test] fn $name() { assert_eq!(complaints($from, $to), [$($complaint),*] as [&str; _]); })+
    };
}

mistakes! {
    an_unknown_field: "address: \"127.0.2.1\"" => "adress: \"127.0.2.1\"", [
        "5:30+6 error: unknown field `adress` in Realm | did you mean `address`?",
    ];
    an_unknown_limit: "admin: (listen" => "limits: (session: 3), admin: (listen", [
        "10:14+7 error: unknown field `session` in Limits | did you mean `sessions`?",
    ];
    an_unknown_top_field: "shards: Count(2)" => "cores: 2", [
        "2:5+5 error: unknown field `cores` in Portolan | one of `shards`, `realms`, `softswitches`, `mappings`, `keepalive`, `limits`, `admin`, `dns`, `secret`",
    ];
    a_mistyped_variant: "side: Access" => "side: Acces", [
        "4:26+5 error: unknown value `Acces` | did you mean `Access`?",
    ];
    a_transport_that_is_not_carried: "[Udp(5060)]" => "[Sctp(5060)]", [
        "4:62+4 error: unknown value `Sctp` | did you mean `Tcp`?",
    ];
    a_missing_field: "side: Access, " => "", [
        "4:9+8 error: Realm lacks the field `side` | add `side: ...`",
    ];
    a_field_given_twice: "side: Access, " => "side: Access, side: Core, ", [
        "4:34+4 error: the field `side` stands twice | keep one `side`",
    ];
    a_port_that_is_no_port: "Udp(5060)" => "Udp(506000)", [
        "4:66+6 error: integer is out of bounds | ports are 1 to 65535",
    ];
    a_bare_number_as_listener: "Udp(5060)" => "5060", [
        "4:62+4 error: `5060` is not a name | a listener is written `Udp(5060)`, shards `Auto`, `Count(2)` or `Cores([0, 1])`",
    ];
    a_text_where_a_number_belongs: "per_shard: 6000" => "per_shard: \"6000\"", [
        "5:81+6 error: expected integer | -",
    ];
    media_that_is_not_a_pair: "media: (16384, 32767)" => "media: 16384", [
        "4:81+5 error: expected opening `(` | parts stand in parentheses: `(field: value, ...)`, or `(16384, 32767)`",
    ];
    a_missing_comma: "127.0.1.1\", sip" => "127.0.1.1\" sip", [
        "4:55+3 error: expected comma | separate fields and elements with commas",
    ];
    a_list_where_a_map_belongs: "realms: {" => "realms: [", [
        "3:13+1 error: expected opening `{` | a map is written `{ \"name\": (...), }`",
    ];
    text_after_the_end: ")\n" => ")\n) extra", [
        "12:1+1 error: non-whitespace trailing characters | -",
    ];
    a_file_without_parentheses: "(\n    shards" => "\n    shards", [
        "2:5+6 error: expected struct `Portolan` but found `shards` | the whole file stands in parentheses: `(realms: {...}, ...)`",
    ];
    no_shard: "Count(2)" => "Count(0)", [
        "2:13+8 error: a shard count of 0 is out of range | give 1 to 1024",
    ];
    more_shards_than_cores: "Count(2)" => "Count(4)", [
        "2:13+8 warning: 4 shards share 2 cores | `shards: Auto` gives each core one shard",
    ];
    cores_that_are_not_there_or_listed_twice: "Count(2)" => "Cores([0, 7, 0, 1])", [
        "2:23+1 error: there is no core 7 | this process may use [0, 1]",
        "2:26+1 error: core 0 is listed twice | one shard runs on one core",
    ];
    no_core_at_all: "Count(2)" => "Cores([])", [
        "2:13+9 error: the list of cores is empty or too long | give 1 to 1024 cores",
    ];
    an_address_with_a_port: "\"127.0.1.1\"" => "\"127.0.1.1:5060\"", [
        "4:43+16 error: `127.0.1.1:5060` is not an IP address | write an IPv4 or IPv6 address without port or brackets: \"198.51.100.10\" or \"2001:db8::10\"",
    ];
    an_address_that_is_none_peers_can_reach: "\"127.0.1.1\"" => "\"0.0.0.0\"", [
        "4:43+9 error: `0.0.0.0` cannot be a peer's destination | name the one address that peers reach: it is written into messages",
    ];
    an_advertised_address_of_the_other_family: "\"127.0.1.1\"" => "\"127.0.1.1\", advertised: \"2001:db8::1\"", [
        "4:68+13 error: 2001:db8::1 and 127.0.1.1 are of different families | the advertised address is a 1:1 NAT's outside of `address`: both IPv4 or both IPv6",
    ];
    media_ports_that_do_not_pair: "(16384, 32767)" => "(16385, 32766)", [
        "4:81+14 error: media ports begin with an even and end with an odd port | `media: (16384, 32767)`: RTP takes the even port, RTCP the next",
    ];
    media_ports_that_run_backwards: "(16384, 32767)" => "(32766, 16385)", [
        "4:81+14 error: media ports 32766 to 16385 run backwards | `media: (16385, 32766)`?",
    ];
    too_few_media_ports: "(16384, 32767)" => "(20000, 20255)", [
        "4:81+14 error: 256 media ports are too few: 32 pairs a shard | 48 pairs a shard are the least: `media: (19968, 20223)` gives each of 2 shards 128 ports",
    ];
    media_ports_that_slices_leave_over: "(16384, 32767)" => "(20000, 29999)", [
        "4:81+14 warning: media ports 20000-20479 and 28672-29999 are unused: 2 aligned slices of 4096 | `media: (16384, 24575)` gives each of 2 shards 4096 ports",
    ];
    media_ports_for_one_shard_more: "(16384, 32767)" => "(8192, 28671)", [
        "4:81+13 warning: media ports 24576-28671 are unused: 2 aligned slices of 8192 | `media: (8192, 24575)` gives each of 2 shards 8192 ports",
    ];
    privileged_media_ports: "(16384, 32767)" => "(1000, 32767)", [
        "4:82+4 error: media ports start at 1024 or above | for example `media: (16384, 32767)`",
    ];
    media_ports_that_the_kernel_lends: "(16384, 32767)" => "(32768, 49151)", [
        "4:81+14 warning: the kernel may give these media ports to other sockets (ip_local_port_range) | sysctl -w net.ipv4.ip_local_reserved_ports=32768-49151",
    ];
    two_realms_on_one_address: "\"127.0.2.1\"" => "\"127.0.1.1\"", [
        "5:58+9 error: the listener Udp(5060) of \"core\" and the listener Udp(5060) of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:62",
        "5:94+14 error: the media ports 16384-32767 of \"core\" and the media ports 16384-32767 of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:81",
    ];
    a_listener_within_the_media_ports: "[Udp(5060)]" => "[Udp(5060), Udp(20100)]", [
        "4:93+14 error: the media ports 16384-32767 of \"access\" and the listener Udp(20100) of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:73",
    ];
    shards_own_ports_over_the_listener: "per_shard: 6000" => "per_shard: 5059", [
        "5:81+4 error: the shards' own ports 5059-5060 of \"core\" and the listener Udp(5060) of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:58",
    ];
    a_listener_given_twice: "[Udp(5060)]" => "[Udp(5060), Udp(5060)]", [
        "4:73+9 error: the listener Udp(5060) of \"access\" and the listener Udp(5060) of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:62",
    ];
    a_listener_on_port_zero: "Udp(5060)" => "Udp(0)", [
        "4:62+6 error: a listener needs a port | SIP's own is `Udp(5060)`",
    ];
    an_access_realm_without_listener: "sip: [Udp(5060)], " => "", [
        "4:19+59 error: no terminal can reach an access realm without a listener | add `sip: [Udp(5060)]`",
    ];
    an_access_realm_with_per_shard: "[Udp(5060)]" => "[Udp(5060)], per_shard: 6000", [
        "4:85+4 error: `per_shard` belongs to core realms | remove it: all shards share an access realm's listeners",
    ];
    a_softswitch_without_own_ports: "per_shard: 6000, " => "", [
        "7:53+16 error: SIP toward this target, and \"core\" has no `per_shard` | add `per_shard: 6000` to the realm",
    ];
    a_softswitch_with_the_own_ports_of_gateways_only: "per_shard: 6000, " => "per_shard_mgcp: 6200, h248: [Udp(2944)], gateways: (14000, 15999), ", [
        "7:53+16 error: SIP toward this target, and \"core\" has no `per_shard` | add `per_shard: 6000` to the realm",
    ];
    per_shard_beyond_the_last_port: "per_shard: 6000" => "per_shard: 65535", [
        "5:81+5 error: 65535 and 2 shards go beyond port 65535 | at most 65534 for 2 shards",
    ];
    what_belongs_to_access_realms_only: "per_shard: 6000" => "per_shard: 6000, learn_net: true, keepalive: Off, mask_call_id: true", [
        "5:98+4 error: `learn_net` belongs to access realms | remove it: a core realm's peers are not behind NAT",
        "5:115+3 error: `keepalive` belongs to access realms | remove it: only terminals' NAT mappings are kept alive",
        "5:134+4 error: `mask_call_id` belongs to access realms | set it in the access realms: it masks the Call-IDs of both sides",
    ];
    media_rules_of_a_core_realm: "per_shard: 6000" => "per_shard: 6000, ice: Keep, secure_media: Refuse, early_media: Block", [
        "5:133+5 error: `early_media` belongs to access realms | set it in the access realms: it holds for both ends of their calls",
        "5:92+4 error: `ice` belongs to access realms | set it in the access realms: it holds for both ends of their calls",
        "5:112+6 error: `secure_media` belongs to access realms | set it in the access realms: it holds for both ends of their calls",
    ];
    media_rules_of_an_access_realm: "media: (16384, 32767)" => "media: (16384, 32767), ice: Keep, secure_media: Refuse, early_media: Backward", [];
    an_unknown_rule_about_ice: "media: (16384, 32767)" => "media: (16384, 32767), ice: Lite", [
        "4:102+4 error: unknown value `Lite` | one of `Strip`, `Keep`",
    ];
    an_unknown_realm: "realm: \"core\"" => "realm: \"cor\"", [
        "7:35+5 error: there is no realm \"cor\" | did you mean `core`?",
    ];
    a_realm_of_the_wrong_side: "realm: \"core\"" => "realm: \"access\"", [
        "7:35+8 error: the realm \"access\" is on the Access side | a softswitch is reached through a core realm",
    ];
    an_unknown_softswitch: "softswitch: \"sx\"" => "softswitch: \"sy\"", [
        "8:47+4 error: there is no softswitch \"sy\" | did you mean `sx`?",
    ];
    a_mapping_of_an_unknown_realm: "access: \"access\"" => "access: \"internet\"", [
        "8:25+10 error: there is no realm \"internet\" | one of `access`, `core`",
        "4:9+8 warning: nobody serves the realm \"access\" | add `(access: \"access\", softswitch: \"...\")` to `mappings`",
    ];
    a_realm_that_nobody_serves: "[(access: \"access\", softswitch: \"sx\")]" => "[]", [
        "4:9+8 warning: nobody serves the realm \"access\" | add `(access: \"access\", softswitch: \"...\")` to `mappings`",
    ];
    a_target_with_a_scheme_is_fine: "\"127.0.3.1:5060\"" => "\"sip:127.0.3.1:5060\"", [];
    a_target_without_port: "\"127.0.3.1:5060\"" => "\"127.0.3.1\"", [
        "7:53+11 error: `127.0.3.1` is not an IP address with a port | add the port: \"127.0.3.1:5060\"",
    ];
    a_target_by_name: "\"127.0.3.1:5060\"" => "\"sx.example.net:5060\"", [
        "7:53+21 error: `sx.example.net:5060` is a name without a scheme | write \"sip:sx.example.net:5060\" to have it looked up, or an address: \"10.0.0.20:5060\"",
    ];
    a_target_of_the_other_family: "\"127.0.3.1:5060\"" => "\"[::1]:5060\"", [
        "7:53+12 error: [::1]:5060 cannot be reached from the realm \"core\" | give an address of the same family as 127.0.2.1",
    ];
    a_target_that_is_portolan_itself: "\"127.0.3.1:5060\"" => "\"127.0.2.1:5060\"", [
        "7:53+16 error: 127.0.2.1:5060 is Portolan's own address | name the softswitch's address, or requests would run in a circle",
    ];
    no_target: "[\"127.0.3.1:5060\"]" => "[]", [
        "7:52+2 error: a softswitch needs a target | for example `targets: [\"10.0.0.20:5060\"]`",
    ];
    a_source_that_is_no_prefix: "domain: \"example.net\"" => "sources: [\"10.0.0.0/40\"]", [
        "7:82+13 error: `10.0.0.0/40` is not a network prefix | write \"10.0.0.0/24\", or one address",
    ];
    a_domain_with_a_scheme: "\"example.net\"" => "\"sip:example.net/\"", [
        "7:80+18 error: \"sip:example.net/\" is not a domain | for example \"example.net\", without \"sip:\" or user",
    ];
    two_realms_of_one_name: "\"core\": (side" => "\"access\": (side", [
        "5:9+8 error: there are two of the realm \"access\" | the first one is at x.ron:4:9",
        "7:35+6 error: there is no realm \"core\" | one of `access`",
    ];
    a_name_that_is_no_name: "\"access\": (side" => "\"\": (side", [
        "4:9+2 error: \"\" cannot be the name of a realm | use 1 to 64 letters, digits, `.`, `_` or `-`",
        "8:25+8 error: there is no realm \"access\" | one of ``, `core`",
        "4:9+2 warning: nobody serves the realm \"\" | add `(access: \"\", softswitch: \"...\")` to `mappings`",
    ];
    a_mapping_that_is_never_used: "softswitch: \"sx\")]" => "softswitch: \"sx\"), (access: \"access\", softswitch: \"sx\")]", [
        "8:54+36 error: never used: an earlier mapping takes all of \"access\" | remove it, or put it before the one without `domains`",
    ];
    a_domain_mapped_twice: "softswitch: \"sx\")]" => "softswitch: \"sx\", domains: [\"a.b\", \"A.B\"])]", [
        "8:70+5 error: the domain \"A.B\" of \"access\" is mapped twice | keep the first: it wins",
    ];
    a_keepalive_interval_of_zero: "interval_s: 25" => "interval_s: 0", [
        "9:29+1 error: a keepalive interval of 0 is out of range | give 1 to 3600",
    ];
    a_rare_keepalive: "interval_s: 25" => "interval_s: 300", [
        "9:29+3 warning: keepalives this rare let NAT mappings expire | many NATs forget a UDP mapping after 30 seconds; RFC 4787 allows it after 120",
    ];
    misses_of_zero: "misses: 3" => "misses: 0", [
        "9:41+1 error: a number of misses of 0 is out of range | give 1 to 100",
    ];
    a_limit_of_zero: "admin: (listen" => "limits: (sessions: 0), admin: (listen", [
        "10:24+1 error: `sessions` of 0 is out of range | give 1 to 100000000",
    ];
    a_batch_beyond_a_millisecond: "admin: (listen" => "limits: (batch_us: 1001), admin: (listen", [
        "10:24+4 error: `batch_us` of 1001 is out of range | give 0 to 1000",
    ];
    one_way_media_judged_within_a_second: "admin: (listen" => "limits: (one_way_s: 1), admin: (listen", [
        "10:25+1 error: `one_way_s` of 1 is out of range | give 2 to 3600",
    ];
    one_way_media_not_judged: "admin: (listen" => "limits: (one_way_s: 0), admin: (listen", [];
    a_class_of_service_beyond_six_bits: "per_shard: 6000" => "per_shard: 6000, dscp: (media: 64)", [
        "5:101+2 error: a DSCP of 64 is out of range | give 0 to 63",
    ];
    a_short_secret: "admin:" => "secret: \"12\", admin:", [
        "10:13+4 error: the secret is not 64 hex digits | 64 hex digits (openssl rand -hex 32), or leave it out for a random one at each start",
    ];
    an_admin_host_name: "\"127.0.0.1:9060\"" => "\"localhost:9060\"", [
        "10:21+16 error: `localhost:9060` is not an IP address with a port | write it as \"127.0.0.1:9060\"; no name is looked up here",
    ];
    a_tcp_listener_beside_a_udp_one_is_fine: "sip: [Udp(5060)], media" => "sip: [Udp(5060), Tcp(5060), Ws(80), Tcp(20100)], media", [];
    two_stream_listeners_on_one_port: "sip: [Udp(5060)], media" => "sip: [Tcp(5060), Ws(5060)], media", [
        "4:73+8 error: the listener Ws(5060) of \"access\" and the listener Tcp(5060) of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:62",
    ];
    a_stream_listener_on_the_shards_own_ports: "sip: [Udp(5060)], per_shard" => "sip: [Tcp(6001)], per_shard", [
        "5:81+4 error: the shards' own ports 6000-6001 of \"core\" and the listener Tcp(6001) of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:58",
    ];
    own_tls_ports_over_own_ports: "per_shard: 6000" => "per_shard: 6000, per_shard_tls: 6001, tls: (certificate: \"a\", key: \"b\")", [
        "5:102+4 error: the shards' own ports 6001-6002 of \"core\" and the shards' own ports 6000-6001 of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:81",
    ];
    own_tls_ports_beyond_the_last: "per_shard: 6000" => "per_shard: 6000, per_shard_tls: 65535, tls: (certificate: \"a\", key: \"b\")", [
        "5:102+5 error: 65535 and 2 shards go beyond port 65535 | at most 65534 for 2 shards",
    ];
    own_tls_ports_from_zero: "per_shard: 6000" => "per_shard: 6000, per_shard_tls: 0, tls: (certificate: \"a\", key: \"b\")", [
        "5:102+1 error: `per_shard_tls` cannot be 0 | for example `per_shard_tls: 6100`",
    ];
    own_tls_ports_without_a_certificate: "per_shard: 6000" => "per_shard: 6000, per_shard_tls: 6100", [
        "5:102+4 error: TLS needs a certificate | add `tls: (certificate: \"chain.pem\", key: \"key.pem\")` to the realm",
    ];
    a_tls_listener_without_a_certificate: "[Udp(5060)]" => "[Udp(5060), Wss(443)]", [
        "4:73+8 error: TLS needs a certificate | add `tls: (certificate: \"chain.pem\", key: \"key.pem\")` to the realm",
    ];
    certificates_that_nothing_uses: "[Udp(5060)]" => "[Udp(5060)], tls: (certificate: \"a\", key: \"b\")", [
        "4:74+3 warning: nothing uses these certificates | add a `Tls(5061)` listener, or in a core realm `per_shard_tls`, or remove it",
    ];
    a_certificate_without_its_key: "[Udp(5060)]" => "[Tls(5061)], tls: (certificate: \"a\")", [
        "4:74+3 error: Tls lacks the field `key` | add `key: ...`",
    ];
    an_empty_file_name: "[Udp(5060)]" => "[Tls(5061)], tls: (certificate: \"a\", key: \"b\", also: [(\"c\", \"\")])", [
        "4:121+2 error: a file's name is empty | relative names start at the main file's directory",
    ];
    roots_that_are_a_word: "[Udp(5060)]" => "[Tls(5061)], tls: (certificate: \"a\", key: \"b\", roots: Sytem)", [
        "4:115+5 error: these are no authorities | `System`, or a file's name in double quotes",
    ];
    mgcp_by_tcp: "[Udp(5060)]" => "[Udp(5060)], mgcp: [Tcp(2427)]", [
        "4:81+9 error: MGCP is not carried by TCP | for example `mgcp: [Udp(2427)]`",
    ];
    mgcp_on_port_zero: "[Udp(5060)]" => "[Udp(5060)], mgcp: [Udp(0)]", [
        "4:81+6 error: a listener needs a port | for example `mgcp: [Udp(2427)]`",
    ];
    own_mgcp_ports_of_an_access_realm: "[Udp(5060)]" => "[Udp(5060)], per_shard_mgcp: 6200", [
        "4:90+4 error: `per_shard_mgcp` belongs to core realms | remove it: all shards share an access realm's listeners",
    ];
    own_mgcp_ports_over_own_ports: "per_shard: 6000" => "per_shard: 6000, per_shard_mgcp: 6001", [
        "5:103+4 error: the shards' own ports 6001-6002 of \"core\" and the shards' own ports 6000-6001 of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:81",
    ];
    a_call_agent_without_own_mgcp_ports: "targets: [" => "protocol: Mgcp, targets: [", [
        "7:69+16 error: MGCP toward this target, and \"core\" has no `per_shard_mgcp` | add `per_shard_mgcp: 6200` to the realm",
    ];
    a_call_agent_by_name: "targets: [\"127.0.3.1:5060\"]" => "protocol: Mgcp, targets: [\"sip:sx.example.net\"]", [
        "7:69+20 error: `sip:sx.example.net` is not the address of a call agent | write its address and port: \"10.0.0.30:2727\"",
    ];
    h248_by_tls: "[Udp(5060)]" => "[Udp(5060)], h248: [Tls(2944)]", [
        "4:81+9 error: H.248 is not carried by TLS | for example `h248: [Udp(2944), Tcp(2944)]`",
    ];
    gateways_ports_of_an_access_realm: "[Udp(5060)]" => "[Udp(5060)], gateways: (30000, 30999)", [
        "4:84+14 error: `gateways` belongs to core realms | remove it: all shards share an access realm's listeners",
    ];
    gateways_ports_the_wrong_way_round: "per_shard: 6000" => "per_shard: 6000, gateways: (30999, 30000)", [
        "5:97+14 error: 30999 to 30000 is no range of ports | for example `gateways: (30000, 30999)`",
    ];
    fewer_gateways_ports_than_shards: "per_shard: 6000" => "per_shard: 6000, gateways: (9000, 9000)", [
        "5:97+12 error: 1 ports are too few | at least one for each of 2 shards; each H.248 gateway takes one",
    ];
    gateways_ports_over_media: "per_shard: 6000" => "per_shard: 6000, gateways: (16000, 16999)", [
        "5:120+14 error: the media ports 16384-32767 of \"core\" and the gateways' ports 16000-16999 of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:97",
    ];
    gateways_ports_that_the_kernel_lends: "per_shard: 6000" => "per_shard: 6000, gateways: (40000, 40999)", [
        "5:97+14 warning: the kernel may give these ports to other sockets (ip_local_port_range) | sysctl -w net.ipv4.ip_local_reserved_ports=40000-40999",
    ];
    a_controller_without_gateways_ports: "targets: [" => "protocol: H248, targets: [", [
        "7:69+16 error: H.248 toward this target, and \"core\" has no `gateways` | add `gateways: (30000, 30999)` to the realm",
    ];
    a_signature_of_a_core_realm: "per_shard: 6000" => "per_shard: 6000, authentication: Strip", [
        "5:103+5 error: `authentication` belongs to access realms | set it in the access realms: it holds for both ends of their calls",
    ];
    an_unknown_protocol: "targets: [" => "protocol: Mgpc, targets: [", [
        "7:53+4 error: unknown value `Mgpc` | did you mean `Mgcp`?",
    ];
    roots_of_the_system: "[Udp(5060)]" => "[Tls(5061)], tls: (certificate: \"a\", key: \"b\", roots: System)", [];
    web_sockets_in_a_core_realm: "[Udp(5060)], per_shard" => "[Ws(8080)], per_shard", [
        "5:58+8 error: WebSocket belongs to access realms | remove it: only terminals come by WebSocket",
    ];
    a_stream_listener_on_port_zero: "[Udp(5060)]" => "[Ws(0)]", [
        "4:62+5 error: a listener needs a port | SIP's own is `Ws(80)`",
    ];
    what_belongs_to_core_realms_only: "[Udp(5060)]" => "[Tls(5061)], tls: (certificate: \"a\", key: \"b\"), per_shard_tls: 6100, large: Tcp", [
        "4:124+4 error: `per_shard_tls` belongs to core realms | remove it: all shards share an access realm's listeners",
        "4:137+3 error: `large` belongs to core realms | remove it: terminals are answered by the way they came",
    ];
    targets_of_all_kinds: "[\"127.0.3.1:5060\"]" => "[\"sip:127.0.3.1;transport=TCP\", \"SIP:sx.example.net\", \"sip:sx.example.net:5060;transport=udp\", (uri: \"127.0.3.2:5060\", priority: 1, weight: 10)]", [];
    targets_without_own_ports: "per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { \"sx\": (realm: \"core\", targets: [" => "per_shard_tls: 6100, tls: (certificate: \"a\", key: \"b\"), media: (16384, 32767)),
    },
    softswitches: { \"sx\": (realm: \"core\", targets: [\"sip:a.example;transport=tls\", \"sips:127.0.3.2\", \"sip:nowhere:0\", \"sip:sx.example.net\", \"sip:127.0.3.3;transport=tcp\", ", [
        "7:102+15 error: `nowhere:0` has no port from 1 to 65535 | for example \"sip:10.0.0.20:5060;transport=tcp\" or \"sip:sx.example.net\"",
        "7:119+20 error: SIP toward this target, and \"core\" has no `per_shard` | add `per_shard: 6000` to the realm",
        "7:141+29 error: SIP toward this target, and \"core\" has no `per_shard` | add `per_shard: 6000` to the realm",
        "7:172+16 error: SIP toward this target, and \"core\" has no `per_shard` | add `per_shard: 6000` to the realm",
    ];
    a_softswitch_by_tls_alone: "per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { \"sx\": (realm: \"core\", targets: [\"127.0.3.1:5060\"]" => "per_shard_tls: 6100, tls: (certificate: \"a\", key: \"b\"), media: (16384, 32767)),
    },
    softswitches: { \"sx\": (realm: \"core\", targets: [\"sip:a.example;transport=tls\", \"sips:127.0.3.2\"]", [];
    a_tls_target_without_own_tls_port: "\"127.0.3.1:5060\"" => "\"sips:127.0.3.1\"", [
        "7:53+16 error: TLS toward `sips:127.0.3.1`, and \"core\" has no `per_shard_tls` | add `per_shard_tls: 6100` and `tls: (certificate: ..., key: ...)` to the realm",
    ];
    a_tls_name_without_own_tls_port: "\"127.0.3.1:5060\"" => "(uri: \"sip:a.example;transport=tls\", name: \"b.example\")", [
        "7:59+29 error: TLS toward `sip:a.example;transport=tls`, and \"core\" has no `per_shard_tls` | add `per_shard_tls: 6100` and `tls: (certificate: ..., key: ...)` to the realm",
    ];
    a_target_with_a_user: "\"127.0.3.1:5060\"" => "\"sip:a@127.0.3.1\"", [
        "7:53+17 error: `sip:a@127.0.3.1` is not the URI of a server | for example \"sip:10.0.0.20:5060;transport=tcp\" or \"sip:sx.example.net\"",
    ];
    a_target_by_web_socket: "\"127.0.3.1:5060\"" => "\"sip:127.0.3.1;transport=ws\"", [
        "7:53+28 error: a softswitch is not reached by `ws` | one of `;transport=udp`, `;transport=tcp`, `;transport=tls`",
    ];
    a_target_with_another_parameter: "\"127.0.3.1:5060\"" => "\"sip:127.0.3.1;lr\"", [
        "7:53+18 error: the parameter `lr` says nothing about a target | one of `;transport=udp`, `;transport=tcp`, `;transport=tls`",
    ];
    sips_by_udp: "\"127.0.3.1:5060\"" => "\"sips:127.0.3.1;transport=udp\"", [
        "7:53+30 error: `sips` is never carried by UDP | one of `;transport=udp`, `;transport=tcp`, `;transport=tls`",
    ];
    a_target_with_a_port_that_is_none: "\"127.0.3.1:5060\"" => "\"sip:a.example:0\"", [
        "7:53+17 error: `a.example:0` has no port from 1 to 65535 | for example \"sip:10.0.0.20:5060;transport=tcp\" or \"sip:sx.example.net\"",
    ];
    a_target_that_is_no_address: "\"127.0.3.1:5060\"" => "\"sip:127.0.3.300\"", [
        "7:53+17 error: `127.0.3.300` is not an IP address with a port | write it as \"10.0.0.20:5060\"; no name is looked up here",
    ];
    a_target_given_twice: "[\"127.0.3.1:5060\"]" => "[\"127.0.3.1:5060\", \"sip:127.0.3.1:5060\"]", [
        "7:71+20 error: the target `sip:127.0.3.1:5060` stands twice | keep one",
    ];
    a_target_with_an_unknown_field: "\"127.0.3.1:5060\"" => "(uri: \"127.0.3.1:5060\", priorty: 1)", [
        "7:77+7 error: unknown field `priorty` in Target | did you mean `priority`?",
    ];
    a_target_without_uri: "\"127.0.3.1:5060\"" => "(priority: 1)", [
        "7:53+13 error: Target lacks the field `uri` | add `uri: ...`",
    ];
    a_target_that_is_a_number: "\"127.0.3.1:5060\"" => "5060", [
        "7:53+4 error: expected a target: \"10.0.0.20:5060\" or (uri: \"...\", priority: 1) but found the unsigned integer `5060` instead | -",
    ];
    a_certificate_name_for_udp: "\"127.0.3.1:5060\"" => "(uri: \"127.0.3.1:5060\", name: \"a.example\")", [
        "7:83+11 error: only a TLS target has a certificate's name | remove it, or write `;transport=tls` or `sips:`",
    ];
    a_certificate_name_that_is_none: "\"127.0.3.1:5060\"" => "(uri: \"sip:a.example\", name: \"*.example\")", [
        "7:82+11 error: `*.example` is not a name of a certificate | for example `name: \"sx.example.net\"`",
    ];
    a_probe_once_a_day: "domain: \"example.net\"" => "probe_s: 86400", [
        "7:81+5 error: a probe interval of 86400 is out of range | give 0 to 3600",
    ];
    a_patience_beyond_timer_f: "domain: \"example.net\"" => "patience_s: 33", [
        "7:84+2 error: a patience of 33 is out of range | give 1 to 32",
    ];
    no_patience: "domain: \"example.net\"" => "patience_s: 0", [
        "7:84+1 error: a patience of 0 is out of range | give 1 to 32",
    ];
    an_unknown_way: "softswitch: \"sx\")]" => "softswitch: \"sx\", registration: (way: Pat))]", [
        "8:73+3 error: unknown value `Pat` | did you mean `Path`?",
    ];
    lifetimes_out_of_range: "softswitch: \"sx\")]" => "softswitch: \"sx\", registration: (terminal_s: 700000, registrar_s: 700000))]", [
        "8:80+6 error: a terminal's lifetime of 700000 is out of range | give 0 to 604800",
        "8:101+6 error: a registrar's lifetime of 700000 is out of range | give 0 to 604800",
    ];
    terminals_that_register_all_the_time: "softswitch: \"sx\")]" => "softswitch: \"sx\", registration: (terminal_s: 5))]", [
        "8:80+1 warning: terminals will register all the time | 0 leaves it to the registrar; keepalives need no registration",
    ];
    nothing_to_absorb: "softswitch: \"sx\")]" => "softswitch: \"sx\", registration: (absorb: true))]", [
        "8:76+4 warning: both lifetimes are the same: nothing can be absorbed | add `registrar_s: 3600` or `terminal_s: 120`: refreshes between two of the registrar's are absorbed",
    ];
    stream_limits_of_zero: "admin: (listen" => "limits: (streams: 0, streams_per_source: 0, stream_idle_s: 0), admin: (listen", [
        "10:23+1 error: `streams` of 0 is out of range | give 1 to 100000000",
        "10:46+1 error: `streams_per_source` of 0 is out of range | give 1 to 100000000",
        "10:64+1 error: `stream_idle_s` of 0 is out of range | give 1 to 604800",
    ];
    a_name_server_by_name: "admin: (listen" => "dns: (servers: [\"127.0.0.1:53\", \"localhost\"]), admin: (listen", [
        "10:37+11 error: `localhost` is not an IP address with a port | write it as \"127.0.0.1:53\"; no name is looked up here",
    ];
    no_realm_at_all: GOOD => "()", [
        "1:1+2 error: there is no realm: nothing would listen | `portolan init` prints a configuration to start from",
    ];
}

#[test]
fn a_problem_is_shown_with_its_line_a_caret_and_a_hint() {
    let text = GOOD.replacen("side: Access", "side: Acces", 1);
    let errors = Loader::new(Machine::with_cores(2)).parse(&text, "x.ron").expect_err("a typing error");
    let shown = r#"error: unknown value `Acces`
 --> x.ron:4:26
  |
4 |         "access": (side: Acces, address: "127.0.1.1", sip: [Udp(5060)], media: (16384, 32767)),
  |                          ^^^^^
  = hint: did you mean `Access`?"#;
    assert_eq!(errors.to_string(), shown);
}

#[test]
fn a_wrong_secret_is_not_shown() {
    let text = GOOD.replacen("admin:", "secret: \"0badc0de\", admin:", 1);
    let errors = Loader::new(Machine::with_cores(2)).parse(&text, "x.ron").expect_err("too short");
    assert!(!errors.to_string().contains("0badc0de"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}") {
        let _ = Loader::new(Machine::with_cores(2)).parse(&text, "x");
    }

    #[test]
    fn a_mutilated_configuration_never_panics(from in 0..GOOD.len(), length in 0..40_usize, with in "[()\\[\\]{},:\"a0 /*é-]{0,6}") {
        let mut text = GOOD.to_owned();
        text.replace_range(from..(from + length).min(GOOD.len()), &with);
        if let Err(errors) = Loader::new(Machine::with_cores(2)).parse(&text, "x") {
            prop_assert!(!errors.0.is_empty());
        }
    }
}
