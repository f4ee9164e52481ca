//! Every mistake in a configuration is told with its exact place and a hint.

use portolan::mapping::{Loader, Machine, Problem, Severity};
use proptest::prelude::*;

const GOOD: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "127.0.1.1", sip: [Udp(5060)], media: (20000, 29999)),
        "core": (side: Core, address: "127.0.2.1", sip: [Udp(5060)], per_shard: 6000, media: (20000, 29999)),
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
        "2:5+5 error: unknown field `cores` in Portolan | one of `shards`, `realms`, `softswitches`, `mappings`, `keepalive`, `limits`, `admin`, `secret`",
    ];
    a_mistyped_variant: "side: Access" => "side: Acces", [
        "4:26+5 error: unknown value `Acces` | did you mean `Access`?",
    ];
    a_transport_that_is_not_carried: "[Udp(5060)]" => "[Tls(5061)]", [
        "4:62+3 error: unknown value `Tls` | this version carries SIP over UDP only: `Udp(5060)`",
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
    media_that_is_not_a_pair: "media: (20000, 29999)" => "media: 20000", [
        "4:81+5 error: expected opening `(` | parts stand in parentheses: `(field: value, ...)`, or `(20000, 39999)`",
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
    more_shards_than_cores: "Count(2)" => "Count(3)", [
        "2:13+8 warning: 3 shards share 2 cores | `shards: Auto` gives each core one shard",
    ];
    cores_that_are_not_there_or_listed_twice: "Count(2)" => "Cores([0, 7, 0])", [
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
    media_ports_that_do_not_pair: "(20000, 29999)" => "(20001, 29998)", [
        "4:81+14 error: media ports begin with an even and end with an odd port | `media: (20000, 29999)`: RTP takes the even port, RTCP the next",
    ];
    media_ports_that_run_backwards: "(20000, 29999)" => "(29998, 20001)", [
        "4:81+14 error: media ports 29998 to 20001 run backwards | `media: (20001, 29998)`?",
    ];
    too_few_media_ports: "(20000, 29999)" => "(20000, 20099)", [
        "4:81+14 error: 100 media ports are too few: 25 pairs a shard | 48 pairs a shard are the least: 192 ports for 2 shards",
    ];
    privileged_media_ports: "(20000, 29999)" => "(1000, 29999)", [
        "4:82+4 error: media ports start at 1024 or above | for example `media: (20000, 39999)`",
    ];
    media_ports_that_the_kernel_lends: "(20000, 29999)" => "(20000, 39999)", [
        "4:81+14 warning: the kernel may give these media ports to other sockets (ip_local_port_range) | sysctl -w net.ipv4.ip_local_reserved_ports=20000-39999",
    ];
    two_realms_on_one_address: "\"127.0.2.1\"" => "\"127.0.1.1\"", [
        "5:58+9 error: the listener 5060 of \"core\" and the listener 5060 of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:62",
        "5:94+14 error: the media ports 20000-29999 of \"core\" and the media ports 20000-29999 of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:81",
    ];
    a_listener_within_the_media_ports: "[Udp(5060)]" => "[Udp(5060), Udp(20100)]", [
        "4:93+14 error: the media ports 20000-29999 of \"access\" and the listener 20100 of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:73",
    ];
    shards_own_ports_over_the_listener: "per_shard: 6000" => "per_shard: 5059", [
        "5:81+4 error: the shards' own ports 5059-5060 of \"core\" and the listener 5060 of \"core\" collide on 127.0.2.1 | the other is at x.ron:5:58",
    ];
    a_listener_given_twice: "[Udp(5060)]" => "[Udp(5060), Udp(5060)]", [
        "4:73+9 error: the listener 5060 of \"access\" and the listener 5060 of \"access\" collide on 127.0.1.1 | the other is at x.ron:4:62",
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
    a_core_realm_without_per_shard: "per_shard: 6000, " => "", [
        "5:9+6 error: a core realm needs `per_shard`, the first shard's own port | add `per_shard: 6000`: shard n listens on 6000+n (2 ports)",
    ];
    per_shard_beyond_the_last_port: "per_shard: 6000" => "per_shard: 65535", [
        "5:81+5 error: 65535 and 2 shards go beyond port 65535 | at most 65534 for 2 shards",
    ];
    what_belongs_to_access_realms_only: "per_shard: 6000" => "per_shard: 6000, learn_net: true, keepalive: Off", [
        "5:98+4 error: `learn_net` belongs to access realms | remove it: a core realm's peers are not behind NAT",
        "5:115+3 error: `keepalive` belongs to access realms | remove it: only terminals' NAT mappings are kept alive",
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
        "7:53+21 error: `sx.example.net:5060` is not an IP address with a port | write it as \"10.0.0.20:5060\"; host names are not looked up",
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
    a_short_secret: "admin:" => "secret: \"12\", admin:", [
        "10:13+4 error: the secret is not 64 hex digits | 64 hex digits (openssl rand -hex 32), or leave it out for a random one at each start",
    ];
    an_admin_host_name: "\"127.0.0.1:9060\"" => "\"localhost:9060\"", [
        "10:21+16 error: `localhost:9060` is not an IP address with a port | write it as \"127.0.0.1:9060\"; host names are not looked up",
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
4 |         "access": (side: Acces, address: "127.0.1.1", sip: [Udp(5060)], media: (20000, 29999)),
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
