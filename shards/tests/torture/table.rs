//! The verdict that each message deserves. `docs/TORTURE.md` says why; a test keeps the two equal.

use portolan_shards::io::DropReason;

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// It passes; the output holds the first texts and none of the second.
    Forwarded(&'static [&'static str], &'static [&'static str]),
    /// It is answered with this status.
    Answered(u16),
    /// It is taken and ends here, nothing is counted as dropped.
    Absorbed,
    /// It is dropped and counted.
    Dropped(DropReason),
}

use Verdict::{Absorbed, Answered, Dropped, Forwarded};

/// It passes, and nothing in particular must hold beyond what holds for all that pass.
const PASSES: Verdict = Forwarded(&[], &[]);

/// File, section and verdict of each message of RFC 4475.
pub(crate) const RFC4475: [(&str, &str, Verdict); 49] = [
    ("wsinv", "3.1.1.1", Answered(481)),
    ("intmeth", "3.1.1.2", Forwarded(&["!interesting-Method0123456789_*+`.%indeed'~ sip:"], &[])),
    (
        "esc01",
        "3.1.1.3",
        Forwarded(
            &["INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "%6C%72;n%61me=v%61lue%25%34%31"],
            &[],
        ),
    ),
    ("escnull", "3.1.1.4", Forwarded(&["<sip:%00@10.", "<sip:%00%00@10.", "sip:null-%00-null@"], &["\0"])),
    ("esc02", "3.1.1.5", Forwarded(&["RE%47IST%45R sip:", "C%6Fntact: <sip:alias2@"], &[])),
    ("lwsdisp", "3.1.1.6", Forwarded(&["caller<sip:caller@example.com>;tag=323"], &[])),
    (
        "longreq",
        "3.1.1.7",
        Forwarded(&["callid\r\nCSeq: 3882340 INVITE\r\nUnknown-LongLong"], &["sip31", "verybranch"]),
    ),
    ("dblreq", "3.1.1.8", Forwarded(&["REGISTER sip:example.com"], &["INVITE", "m =video"])),
    ("semiuri", "3.1.1.9", Forwarded(&["OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"], &[])),
    ("transports", "3.1.1.10", Forwarded(&[], &["SCTP", "UNKNOWN", "t5.example"])),
    ("mpart01", "3.1.1.11", Forwarded(&["boundary=7a9cbec02ceef655", "\r\nHello\r\n"], &[])),
    ("unreason", "3.1.1.12", Forwarded(&["SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}"], &["192.0.2.198"])),
    ("noreason", "3.1.1.13", Absorbed),
    ("badinv01", "3.1.2.1", Answered(400)),
    ("clerr", "3.1.2.2", Answered(400)),
    ("ncl", "3.1.2.3", Answered(400)),
    ("scalar02", "3.1.2.4", Answered(400)),
    ("scalarlg", "3.1.2.5", Dropped(DropReason::Malformed)),
    ("quotbal", "3.1.2.6", Answered(400)),
    ("ltgtruri", "3.1.2.7", Answered(400)),
    ("lwsruri", "3.1.2.8", Answered(400)),
    ("lwsstart", "3.1.2.9", Answered(400)),
    ("trws", "3.1.2.10", Answered(400)),
    ("escruri", "3.1.2.11", Answered(400)),
    ("baddate", "3.1.2.12", Forwarded(&["Date: Fri, 01 Jan 2010 16:00:00 EST"], &[])),
    ("regbadct", "3.1.2.13", Forwarded(&["Contact: <sip:user@10."], &["Route"])),
    ("badaspec", "3.1.2.14", Forwarded(&["\"Watson, Thomas\" < sip:t.watson@example.org >"], &[])),
    ("baddn", "3.1.2.15", Forwarded(&["Bell, Alexander <sip:a.g.bell@example.com>;tag=43"], &[])),
    ("badvers", "3.1.2.16", Answered(505)),
    ("mismatch01", "3.1.2.17", Answered(400)),
    ("mismatch02", "3.1.2.18", Answered(400)),
    ("bigcode", "3.1.2.19", Dropped(DropReason::Malformed)),
    ("badbranch", "3.2.1", PASSES),
    ("insuf", "3.3.1", Answered(400)),
    ("unkscm", "3.3.2", Answered(416)),
    ("novelsc", "3.3.3", Answered(416)),
    (
        "unksm2",
        "3.3.4",
        Forwarded(&["isbn:2983792873", "<http://www.example.com>", "<name:John_Smith>"], &[]),
    ),
    ("bext01", "3.3.5", Answered(420)),
    ("invut", "3.3.6", Forwarded(&["<pcmu port=\"443\"/>"], &[])),
    ("regaut01", "3.3.7", Forwarded(&["Authorization: NoOneKnowsThisScheme opaque-data=here"], &[])),
    ("multi01", "3.3.8", Answered(400)),
    ("mcl01", "3.3.9", Answered(400)),
    ("bcast", "3.3.10", Dropped(DropReason::Unmatched)),
    ("zeromf", "3.3.11", Answered(483)),
    ("cparam01", "3.3.12", Forwarded(&[">;unknownparam\r\n"], &[])),
    ("cparam02", "3.3.13", Forwarded(&[";unknownparam;"], &[">;unknownparam"])),
    ("regescrt", "3.3.14", Forwarded(&["M: <sip:user@10."], &["Route"])),
    ("sdp01", "3.3.15", Forwarded(&["Accept: text/nobodyKnowsThis"], &["IP4 192.0.2.5"])),
    ("inv2543", "3.4.1", Forwarded(&["Max-Forwards: 70\r\n"], &["iftgw", "maddr"])),
];

/// Name (its section first) and verdict of each message in the shapes of RFC 5118.
pub(crate) const RFC5118: [(&str, Verdict); 12] = [
    (
        "4.1 reference",
        Forwarded(&["REGISTER sip:example.net SIP/2.0", "\"Caller\" <sip:caller@10."], &["2001:db8"]),
    ),
    ("4.2 no brackets", Answered(400)),
    ("4.3 port within the brackets", Forwarded(&["REGISTER sip:example.net SIP/2.0"], &["5070"])),
    ("4.4 port after the brackets", Forwarded(&["REGISTER sip:example.net SIP/2.0"], &["5070"])),
    ("4.5 received in brackets", Answered(481)),
    ("4.5 received without brackets", Forwarded(&[], &["2001:db8"])),
    ("4.6 IPv6 in SDP", Forwarded(&["c=IN IP4 10.0.0.10"], &["2001:db8", "IP6"])),
    ("4.7 several addresses in headers", Answered(481)),
    ("4.8 several addresses in SDP", Forwarded(&["c=IN IP4 10.0.0.10"], &["2001:db8", "192.0.2.1", "IP6"])),
    ("4.9 IPv4-mapped", Forwarded(&["c=IN IP4 10.0.0.10"], &["::ffff", "192.0.2"])),
    ("4.10 three colons", Forwarded(&["OPTIONS sip:user@example.net SIP/2.0"], &["2001:db8"])),
    ("4.10 two colons", Forwarded(&["OPTIONS sip:user@example.net SIP/2.0"], &["2001:db8"])),
];

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Forwarded(..) => write!(f, "forwarded"),
            Answered(status) => write!(f, "{status}"),
            Absorbed => write!(f, "absorbed"),
            Dropped(reason) => write!(f, "dropped ({})", reason.label()),
        }
    }
}
