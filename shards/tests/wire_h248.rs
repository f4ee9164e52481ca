//! H.248 in text and in binary: what is found in messages as gateways and controllers write them, and what is refused.

use portolan_shards::fault::Fault;
use portolan_shards::wire::h248::build::Envelope;
use portolan_shards::wire::h248::*;
use std::path::Path;

/// A request in long tokens, as in RFC 3525 appendix I.
const ADD: &[u8] = b"MEGACO/1 [123.123.123.4]:55555\r\nTransaction = 10003 {\r\n\tContext = $ {\r\n\
    \t\tAdd = A4444,\r\n\t\tAdd = $ {\r\n\t\t\tMedia {\r\n\t\t\t\tStream = 1 {\r\n\
    \t\t\t\t\tLocalControl {\r\n\t\t\t\t\t\tMode = ReceiveOnly, nt/jit=40 ; in ms }\r\n\t\t\t\t\t},\r\n\
    \t\t\t\t\tLocal {\r\nv=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 4\r\na=ptime:30\r\nv=0\r\nc=IN IP4 $\r\n\
    m=audio $ RTP/AVP 0\r\n\t\t\t\t\t}\r\n\t\t\t\t}\r\n\t\t\t}\r\n\t\t}\r\n\t}\r\n}\r\n";

/// Its reply, in short tokens.
const ADDED: &[u8] = b"!/1 [10.0.0.9]:2944 P=10003{C=2000{A=A4444,A=A4445{M{ST=1{L{v=0\no=- 1 1 IN IP4 10.0.0.9\n\
    c=IN IP4 10.0.0.9\nm=audio 2222 RTP/AVP 4\na=x:\\}\n},R{v=0\nc=IN IP4 1.2.3.4\nm=audio 5 RTP/AVP 4\n}}}}}}";

fn parse(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap_or_else(|why| panic!("{why:?}\n{}", bytes.escape_ascii()))
}

#[test]
fn a_request_in_long_tokens() {
    let message = parse(ADD);
    assert_eq!((message.encoding, message.version), (Encoding::Text, 1));
    assert_eq!(message.mid, Mid::of("123.123.123.4:55555".parse().unwrap()));
    let [transaction] = message.transactions() else { panic!("one") };
    assert_eq!((transaction.kind, transaction.id), (Kind::Request, 10003));
    let commands: Vec<_> = transaction.commands().collect();
    assert_eq!(commands.len(), 2);
    assert_eq!((commands[0].0, commands[0].1.verb), (Context::Choose, Verb::Add));
    assert_eq!(commands[0].1.terminations[0].name(), b"a4444");
    assert!(commands[0].1.terminations[0].is_exact() && commands[1].1.terminations[0].is_choose());
    let stream = commands[1].1.stream(1).unwrap();
    assert_eq!(stream.mode, Some(Mode::ReceiveOnly));
    let groups: Vec<_> =
        stream.local.as_ref().unwrap().groups.iter().map(|group| message.sdp(group).into_owned()).collect();
    assert_eq!(groups[0], b"v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 4\r\na=ptime:30\r\n");
    assert_eq!(groups[1], b"v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0\r\n");
    assert!(stream.remote.is_none());
}

#[test]
fn a_reply_in_short_tokens_is_rewritten_in_place() {
    let message = parse(ADDED);
    let command = &message.transactions()[0].actions[0].commands[1];
    let local = command.streams[0].local.as_ref().unwrap().groups[0];
    assert!(message.sdp(&local).ends_with(b"a=x:}\n"));
    let mut edit = Edit::new(&message);
    edit.mid(&Mid::of("[2001:db8::1]:30000".parse().unwrap()));
    edit.description(&local, b"v=0\nm=audio 7 RTP/AVP 4\na=x:}\n").unwrap();
    let text = String::from_utf8(edit.finish()).unwrap();
    assert_eq!(
        text,
        "!/1 [2001:db8::1]:30000 P=10003{C=2000{A=A4444,A=A4445{M{ST=1{L{v=0\nm=audio 7 RTP/AVP 4\na=x:\\}\n\
         },R{v=0\nc=IN IP4 1.2.3.4\nm=audio 5 RTP/AVP 4\n}}}}}}"
    );
}

#[test]
fn the_parameters_of_a_service_change() {
    let text = b"MEGACO/3 <gw1.example.net> T=9{C=-{SC=ROOT{SV{MT=RS,AD=[192.168.1.5]:55555,PF=ResGW/1,\
        RE=\"901 Cold Boot\",DL=5,V=2}}}}";
    let message = parse(text);
    assert_eq!(message.mid, Mid::Domain("gw1.example.net".into(), None));
    let command = &message.transactions()[0].actions[0].commands[0];
    assert!(command.terminations[0].is_root());
    let change = command.service_change.as_ref().unwrap();
    assert_eq!((change.method, change.reason, change.delay), (Some(Method::Restart), Some(901), Some(5)));
    assert_eq!(change.version, Some(2));
    assert_eq!(change.address, Some(ChangeAddress::Mid(Mid::of("192.168.1.5:55555".parse().unwrap()))));
    let mut edit = Edit::new(&message);
    edit.service_change(change, Keep::Drop, Keep::Drop);
    let text = String::from_utf8(edit.finish()).unwrap();
    assert!(text.contains("{MT=RS,PF=ResGW/1,RE="), "{text}");
    let mut edit = Edit::new(&message);
    edit.service_change(change, Keep::As(&ChangeAddress::Port(5)), Keep::AsIs);
    assert!(String::from_utf8(edit.finish()).unwrap().contains("{MT=RS,AD=5,PF=ResGW/1,"));
}

#[test]
fn addresses_are_taken_out_wherever_they_stand() {
    for (from, to) in [
        ("SV{AD=5,MG=<a>:1,MT=RS}", "{SV{MT=RS}}"),
        ("SV{ MT=RS , AD=5 , MG = MTP{0a2B} }", "{SV{ MT=RS }}"),
        ("SV{AD=5,MT=RS,MG=[1.2.3.4]}", "{SV{MT=RS}}"),
        ("SV{MG=gw/1@x, V=1}", "{SV{V=1}}"),
        ("SV{MG=gw/1@x}", ""),
        ("SV{AD=5,MG=gw/1@x}", ""),
        ("SV{V=1}", "{SV{V=1}}"),
        ("SV{}", "{SV{}}"),
    ] {
        let text = format!("!/1 a P=1{{C=-{{SC=ROOT {{{from}}}}}}}");
        let message = parse(text.as_bytes());
        let change = message.transactions()[0].actions[0].commands[0].service_change.as_ref().unwrap();
        let mut edit = Edit::new(&message);
        edit.service_change(change, Keep::Drop, Keep::Drop);
        let text = String::from_utf8(edit.finish()).unwrap();
        assert_eq!(text, format!("!/1 a P=1{{C=-{{SC=ROOT {to}}}}}"), "{from}");
        parse(text.as_bytes());
    }
}

/// Recorded messages, where they are present: the files of one folder in the order of their names.
fn recorded(folder: &str) -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/megaco");
    let Ok(files) = std::fs::read_dir(corpus.join(folder)) else { return Vec::new() };
    let mut paths: Vec<_> =
        files.filter_map(|file| Some(file.ok()?.path())).filter(|p| p.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), std::fs::read(path).expect("a file"))).collect()
}

/// All can be read, and without a change they stay as they are.
#[test]
fn recorded_messages_are_read_and_stay_as_they_are() {
    for folder in ["pcap_msgs", "otp/time_test/pretty", "otp/time_test/compact", "otp/time_test/ber"] {
        for (name, bytes) in recorded(folder) {
            let message = Message::parse(&bytes);
            let message = message.unwrap_or_else(|why| panic!("{folder} {name}: {why:?}"));
            assert_eq!(Edit::new(&message).finish(), bytes);
        }
    }
}

/// What a message says, without how it is written.
fn said(message: &Message<'_>) -> Vec<String> {
    let mut said = vec![format!("{} {:?}", message.version, message.mid)];
    for transaction in message.transactions() {
        let Transaction { kind, id, ack_required, segment, error, acks, .. } = transaction;
        let error = error.map(|error| error.code);
        said.push(format!("{kind:?} {id} {ack_required} {segment:?} {error:?} {acks:?}"));
        for action in &transaction.actions {
            said.push(format!("{:?} {:?}", action.context, action.error.map(|error| error.code)));
            said.extend(action.commands.iter().map(|command| command_says(message, command)));
        }
    }
    said
}

fn command_says(message: &Message<'_>, command: &Command) -> String {
    let sdp = |side: &Option<Description>| {
        let groups = side.iter().flat_map(|side| &side.groups);
        let lines = groups.map(|group| {
            let text = String::from_utf8_lossy(&message.sdp(group)).into_owned();
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect::<Vec<_>>()
        });
        lines.collect::<Vec<_>>()
    };
    let streams: Vec<_> = command
        .streams
        .iter()
        .map(|s| {
            let counted: Vec<_> = s.statistics.iter().map(|s| s.value).collect();
            format!(
                "{} {:?} {:?} {:?} {:?} {:?} {counted:?}",
                s.id,
                s.mode,
                s.reserve_value,
                s.reserve_group,
                sdp(&s.local),
                sdp(&s.remote)
            )
        })
        .collect();
    let terminations: Vec<_> =
        command.terminations.iter().map(|t| (t.is_root(), t.is_choose(), t.is_all(), t.is_exact())).collect();
    let change = command.service_change.as_ref().map(|c| {
        format!("{:?} {:?} {:?} {:?} {:?} {:?}", c.method, c.reason, c.delay, c.address, c.mgc, c.version)
    });
    format!(
        "{:?} {} {} {terminations:?} {} {streams:?} {:?} {change:?} {:?} {:?} {:?}",
        command.verb,
        command.optional,
        command.wildcard_response,
        command.lists_context,
        command.audit.map(|audit| audit.empty),
        command.observed.iter().map(|event| event.stream).collect::<Vec<_>>(),
        command.statistics.iter().map(|s| (s.counted, s.value)).collect::<Vec<_>>(),
        command.error.map(|error| error.code),
    )
}

/// The same messages in all encodings say the same.
#[test]
fn both_encodings_have_one_view() {
    let (text, ber) = (recorded("otp/time_test/pretty"), recorded("otp/time_test/ber"));
    assert_eq!(text.len(), ber.len());
    for ((name, text), (_, ber)) in text.iter().zip(&ber) {
        assert_eq!(said(&parse(text)), said(&parse(ber)), "{name}");
    }
}

#[test]
fn what_cannot_be_read_names_whom_to_tell() {
    for (bad, blame) in [
        (&b""[..], Blame::Message),
        (b"MEGACO/1 ", Blame::Message),
        (b"MEGACO/1 [1.2.3.4]:5", Blame::Message),
        (b"MEGACO/1 [1.2.3.4]:5 T=7{C=-{A=a{", Blame::Request(7)),
        (b"MEGACO/1 [1.2.3.4]:5 T=7{}", Blame::Request(7)),
        (b"MEGACO/1 [1.2.3.4]:5 T=7{C=-{A=a}}T=8{C=-{A=a}", Blame::Request(8)),
        (b"MEGACO/1 [1.2.3.4]:5 P=7{C=-{A=a{", Blame::Nobody),
        (b"MEGACO/1 [1.2.3.4]:5 Error=x{}", Blame::Nobody),
        (b"MEGACO/1 [1.2.3.4]:5 T=x{C=-{A=a}}", Blame::Message),
        (b"MEGACO/0 [1.2.3.4]:5 T=1{C=-{A=a}}", Blame::Message),
    ] {
        let why = Message::parse(bad).expect_err("bad");
        assert_eq!(
            (why.blame, matches!(why.fault, Fault::Malformed(_))),
            (blame, true),
            "{}",
            bad.escape_ascii()
        );
    }
}

/// A message of the corpus that the fuzzer starts from.
fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/h248");
    std::fs::read(folder.join(name)).expect("a file")
}

fn local(message: &Message<'_>) -> Group {
    let mut commands = message.transactions()[0].commands();
    commands.find_map(|(_, command)| command.stream(1)?.local.clone()).expect("a description").groups[0]
}

#[test]
fn binary_is_read_and_rewritten_in_place_whatever_its_lengths() {
    let at = Mid::of("[2001:db8::1]:30000".parse().unwrap());
    let described = "v=0\r\no=- 1 1 IN IP4 192.168.1.5\r\ns=-\r\nc=IN IP4 192.168.1.5\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:40001\r\na=sendrecv\r\n";
    let ours = "v=0\no=- 1 1 IN IP6 2001:db8::1\ns=-\nc=IN IP6 2001:db8::1\nt=0 0\nm=audio 20000 RTP/AVP 8 101\n\
        a=rtpmap:101 telephone-event/8000\na=rtcp:20001\na=sendonly\n";
    for (name, constant) in
        [("add_reply.ber", false), ("add_reply_indefinite.ber", true), ("add_reply_wide.ber", true)]
    {
        let bytes = sample(name);
        let message = parse(&bytes);
        assert_eq!(message.mid, Mid::of("192.168.1.5:2944".parse().unwrap()));
        assert_eq!(message.sdp(&local(&message)), described.as_bytes());
        let mut edit = Edit::new(&message);
        edit.mid(&at);
        edit.description(&local(&message), ours.as_bytes()).unwrap();
        let edited = edit.finish();
        let again = parse(&edited);
        assert_eq!(again.mid, at);
        assert_eq!(again.sdp(&local(&again)), ours.replace('\n', "\r\n").as_bytes());
        let wrapped = |text: &[u8]| edited.windows(text.len()).any(|window| window == text);
        assert!(wrapped(b"\x16\x12IN IP6 2001:db8::1") && wrapped(b"\x16\x19audio 20000 RTP/AVP 8 101"));
        let mut longer = Edit::new(&message);
        longer.description(&local(&message), format!("{described}a=x").as_bytes()).unwrap();
        let longer = longer.finish();
        assert!(
            longer.windows(3).any(|window| window == b"\x16\x01x"),
            "a new line is written as the others are"
        );
        let mut there = Edit::new(&message);
        there.description(&local(&message), ours.as_bytes()).unwrap();
        let there = there.finish();
        let again = parse(&there);
        let mut back = Edit::new(&again);
        back.description(&local(&again), described.as_bytes()).unwrap();
        let back = back.finish();
        assert_eq!(said(&parse(&back)), said(&message));
        assert!(!constant || back == bytes, "{name}: lengths keep their form");
    }
}

#[test]
fn an_edited_binary_message_differs_only_in_addresses_and_lengths() {
    let bytes = sample("add_request.ber");
    let message = parse(&bytes);
    let mut edit = Edit::new(&message);
    edit.mid(&Mid::Domain("mgc2.example.net".into(), Some(2944)));
    edit.transaction(&message.transactions()[0], 10004);
    let edited = edit.finish();
    let differs = bytes.iter().zip(&edited).filter(|(old, new)| old != new);
    assert_eq!((edited.len(), differs.count()), (bytes.len(), 2));
}

#[test]
fn addresses_and_ports_of_annex_c_are_a_description() {
    let bytes = sample("modify_native.ber");
    let message = parse(&bytes);
    let command = message.transactions()[0].commands().next().unwrap().1;
    let group = command.stream(1).unwrap().remote.as_ref().unwrap().groups[0];
    assert_eq!(message.sdp(&group), &b"c=IN IP4 10.0.0.50\r\nm=audio 5000 udp -\r\n"[..]);
    for (address, octets) in [
        ("IN IP4 192.0.2.1", &b"\x00\x00\x60\x01\xa1\x06\x04\x04\xc0\x00\x02\x01"[..]),
        ("IN IP6 2001:db8::1", b"\x00\x00\x60\x02\xa1\x12\x04\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
    ] {
        let mut edit = Edit::new(&message);
        edit.description(&group, format!("c={address}\r\nm=audio 40000 udp -\r\n").as_bytes()).unwrap();
        let edited = edit.finish();
        let has = |what: &[u8]| edited.windows(what.len()).any(|window| window == what);
        assert!(
            has(octets) && has(b"\x00\x00\x60\x03\xa1\x07\x04\x05\x02\x03\x00\x9c\x40"),
            "{}",
            edited.escape_ascii()
        );
        assert!(has(b"\x00\x00\x10\x01\xa1\x03\x04\x01\x00"), "what is no line stays");
        let group =
            parse(&edited).transactions()[0].actions[0].commands[0].streams[0].remote.clone().unwrap().groups
                [0];
        assert_eq!(parse(&edited).sdp(&group), format!("c={address}\r\nm=audio 40000 udp -\r\n").as_bytes());
    }
    let mut edit = Edit::new(&message);
    assert!(edit.description(&group, b"c=IN IP4 host.example.net\r\n").is_err(), "no address");
    assert!(edit.description(&group, b"y=0\r\n").is_err(), "no property");
}

#[test]
fn lines_come_and_go_as_properties() {
    let bytes = sample("subtract_reply.ber");
    let message = parse(&bytes);
    let command = &message.transactions()[0].actions[0].commands[1];
    let group = command.streams[0].local.as_ref().unwrap().groups[0];
    let text = String::from_utf8(message.sdp(&group).into_owned()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (drop, add_at) in [(0, 1), (3, 8), (8, 0), (5, 5)] {
        let mut changed = lines.clone();
        changed.remove(drop);
        changed.insert(add_at, "b=AS:64");
        let changed: String = changed.iter().flat_map(|line| [line, "\r\n"]).collect();
        let mut edit = Edit::new(&message);
        edit.description(&group, changed.as_bytes()).unwrap();
        let edited = edit.finish();
        let again = parse(&edited);
        let group =
            again.transactions()[0].actions[0].commands[1].streams[0].local.as_ref().unwrap().groups[0];
        assert_eq!(again.sdp(&group), changed.as_bytes());
    }
}

#[test]
fn a_service_change_in_binary() {
    let bytes = sample("restart.ber");
    let message = parse(&bytes);
    assert!(message.authentication.is_some());
    let change = message.transactions()[0].actions[0].commands[0].service_change.clone().unwrap();
    assert_eq!((change.method, change.reason, change.delay), (Some(Method::Restart), Some(901), Some(5)));
    assert_eq!(change.address, Some(ChangeAddress::Mid(Mid::of("192.168.1.5:55555".parse().unwrap()))));
    let mut edit = Edit::new(&message);
    edit.drop_authentication();
    edit.service_change(&change, Keep::Drop, Keep::Drop);
    let edited = edit.finish();
    let again = parse(&edited);
    assert!(again.authentication.is_none());
    let left = again.transactions()[0].actions[0].commands[0].service_change.clone().unwrap();
    assert_eq!((left.address, left.version, left.profile.is_some()), (None, Some(2), true));

    let bytes = sample("hand_off.ber");
    let message = parse(&bytes);
    assert!(message.transactions()[1].ack_required);
    let ours = Mid::of("198.51.100.10:2944".parse().unwrap());
    let mut edit = Edit::new(&message);
    for transaction in message.transactions() {
        let change = transaction.actions[0].commands[0].service_change.as_ref().unwrap();
        edit.service_change(change, Keep::As(&ChangeAddress::Mid(ours.clone())), Keep::As(&ours));
    }
    let edited = edit.finish();
    let again = parse(&edited);
    let changes: Vec<_> = again
        .transactions()
        .iter()
        .map(|t| t.actions[0].commands[0].service_change.clone().unwrap())
        .collect();
    assert!(changes.iter().all(|change| change.mgc.as_ref() == Some(&ours)));
    assert_eq!(changes[0].address, None);
    assert_eq!(changes[1].address, Some(ChangeAddress::Mid(ours)));
}

/// What was counted, in both encodings and in each way that a number is written.
#[test]
fn statistics_and_errors_of_a_subtraction() {
    for name in ["subtract_reply.ber", "subtract_reply.txt"] {
        let bytes = sample(name);
        let message = parse(&bytes);
        let commands = &message.transactions()[0].actions[0].commands;
        let counted = |what| commands[0].statistics.iter().find(|s| s.counted == what).and_then(|s| s.value);
        assert_eq!(counted(Counted::OctetsSent), Some(45123), "{name}");
        assert!(counted(Counted::PacketsSent).is_some_and(|packets| packets > 1000));
        assert_eq!((counted(Counted::Loss), counted(Counted::Jitter)), (Some(0), None));
        let listing = commands.iter().find(|command| command.lists_context).unwrap();
        assert_eq!(listing.terminations.len(), 2);
        assert!(commands.iter().any(|command| command.error.is_some_and(|error| error.code == 411)));
    }
}

#[test]
fn messages_of_our_own() {
    let ids = [
        Mid::of("198.51.100.10:2944".parse().unwrap()),
        Mid::Device("gw/1".into()),
        Mid::Mtp([1, 2, 3].into()),
    ];
    for (encoding, mid) in
        [Encoding::Text, Encoding::Ber].into_iter().flat_map(|e| ids.iter().map(move |mid| (e, mid)))
    {
        let with = Envelope { encoding, version: 2, mid };
        let acks = [Acked { first: 1, last: 3 }, Acked { first: u32::MAX, last: u32::MAX }];
        let bytes = [
            with.audit(0xf000_0000),
            with.service_change(7, Method::Forced, "905 \"gone\"\r\n"),
            with.service_change_reply(8, Some(&Mid::Domain("mgc2.example.net".into(), Some(1)))),
            with.refuse(9, 510, "Insufficient resources"),
            with.pending(10),
            with.acknowledge(&acks),
        ];
        let read: Vec<_> = bytes.iter().map(|bytes| parse(bytes)).collect();
        assert!(read.iter().all(|m| m.encoding == encoding && m.version == 2 && m.mid == *mid));
        let first: Vec<_> = read.iter().map(|message| &message.transactions()[0]).collect();
        let kinds: Vec<_> = first.iter().map(|transaction| (transaction.kind, transaction.id)).collect();
        let wanted = [
            (Kind::Request, 0xf000_0000),
            (Kind::Request, 7),
            (Kind::Reply, 8),
            (Kind::Reply, 9),
            (Kind::Pending, 10),
            (Kind::ResponseAck, 0),
        ];
        assert_eq!(kinds, wanted);
        let command = |at: usize| &first[at].actions[0].commands[0];
        assert!((0..3).all(|at| command(at).terminations[0].is_root()));
        assert!(command(0).audit.unwrap().empty && command(0).verb == Verb::AuditValue);
        let change = command(1).service_change.as_ref().unwrap();
        assert_eq!((change.method, change.reason), (Some(Method::Forced), Some(905)));
        let change = command(2).service_change.as_ref().unwrap();
        assert_eq!((change.version, change.mgc.is_some()), (Some(2), true));
        assert_eq!(
            first[3].error.map(|e| (e.code, e.text.of(&bytes[3]))),
            Some((510, &b"Insufficient resources"[..]))
        );
        assert_eq!(first[5].acks, acks);
        let whole = with.refuse_message(400, "Syntax error");
        let Body::Error(error) = parse(&whole).body else { panic!("an error") };
        assert_eq!((error.code, error.text.of(&whole)), (400, &b"Syntax error"[..]));
    }
}

#[test]
fn transactions_are_taken_out_and_acknowledgements_shortened() {
    for name in ["others.ber", "authenticated.txt"] {
        let bytes = sample(name);
        let message = parse(&bytes);
        let acks = message.transactions().iter().find(|t| t.kind == Kind::ResponseAck).unwrap();
        let mut edit = Edit::new(&message);
        edit.acknowledge(acks, &acks.acks[..1]);
        message
            .transactions()
            .iter()
            .filter(|t| t.kind == Kind::Reply)
            .for_each(|t| edit.drop_transaction(t));
        let edited = edit.finish();
        let again = parse(&edited);
        let kinds: Vec<_> = again.transactions().iter().map(|t| t.kind).collect();
        assert!(!kinds.contains(&Kind::Reply) && kinds.len() == message.transactions().len() - 1);
        assert_eq!(
            again.transactions().iter().find(|t| t.kind == Kind::ResponseAck).unwrap().acks,
            acks.acks[..1]
        );
    }
}

#[test]
fn what_cannot_be_read_in_binary_names_whom_to_tell() {
    let good = sample("add_request.ber");
    let bad = |at: usize, octet: u8| {
        let mut bytes = good.clone();
        bytes[at] = octet;
        Message::parse(&bytes).expect_err("bad")
    };
    let command = good.windows(2).position(|window| window == b"\xa1\x81").unwrap();
    let version = good.windows(3).position(|window| window == b"\x80\x01\x01").unwrap();
    assert_eq!(bad(version + 2, 0).blame, Blame::Message);
    let name = good.windows(4).position(|window| window == b"\x00\x00\xb0\x0f").unwrap();
    let why = bad(name - 1, 3);
    assert_eq!((why.blame, why.code(), why.version), (Blame::Request(10003), 403, Some(1)));
    assert!(matches!(why.mid, Some(Mid::Domain(..))));
    assert!(Message::parse(&good[..command]).is_err_and(|why| why.blame == Blame::Message));
    let longer = [good.as_slice(), &[0]].concat();
    assert!(Message::parse(&longer).is_err());
}

#[test]
fn what_is_too_much_is_refused() {
    let refused = |text: String| {
        let why = Message::parse(text.as_bytes()).expect_err("too much");
        assert!(matches!(why.fault, Fault::Refused(_)) && why.code() == 510, "{why:?}");
    };
    refused(format!("!/1 a T=1{{C=1{{{}", "x{".repeat(MAX_DEPTH)));
    refused(format!("!/1 a T=1{{C=1{{{}A=a}}}}", "A=a,".repeat(MAX_COMMANDS)));
    refused(format!("!/1 a {}", "PN=1{}".repeat(MAX_TRANSACTIONS + 1)));
    refused(format!("!/1 a T=1{{C=1{{{}A=a}}}}", "x,".repeat(MAX_ITEMS)));
    refused(format!("!/1 a T=1{{C=1{{A=a{{M{{L{{{}}}}}}}}}}}", "v=0\n".repeat(MAX_GROUPS + 1)));
    let deep = [[0x30, 0x80].repeat(MAX_DEPTH + 2), vec![0; 2 * (MAX_DEPTH + 2)]].concat();
    assert!(Message::parse(&deep).is_err_and(|why| matches!(why.fault, Fault::Refused(_))));
}

#[test]
fn properties_of_several_values_are_several_lines() {
    let bytes = sample("several_values.ber");
    let message = parse(&bytes);
    let group = local(&message);
    let head = "c=IN IP4 192.168.1.5\r\nm=audio 40000 RTP/AVP 8\r\n";
    let text = format!("{head}a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n");
    assert_eq!(message.sdp(&group), text.as_bytes());
    for (new, read) in [
        ("a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=inactive\r\n", None),
        ("a=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n", None),
        ("a=x:1\r\na=sendrecv\r\na=y:1\r\n", None),
        (
            "a=rtpmap:8 PCMA/8000\r\na=x:1\r\na=sendrecv\r\n",
            Some("a=x:1\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"),
        ),
        ("", None),
    ] {
        let mut edit = Edit::new(&message);
        edit.description(&group, format!("{head}{new}").as_bytes()).unwrap();
        let edited = edit.finish();
        let again = parse(&edited);
        assert_eq!(again.sdp(&local(&again)), format!("{head}{}", read.unwrap_or(new)).as_bytes());
        let empty = b"\x80\x04\x00\x00\xb0\x09\xa1\x00";
        assert!(edited.windows(empty.len()).any(|window| window == empty), "CHOOSE stays");
    }
}

#[test]
fn a_name_with_wildcards_stands_for_those_that_fit() {
    let named = |names: &str| {
        let text = format!("!/1 [10.0.0.9]:2944 T=1{{C=*{{S={names}}}}}");
        parse(text.as_bytes()).transactions()[0].actions[0].commands[0].terminations[0].clone()
    };
    for (wild, exact, stands) in [
        ("*", "rtp/1", true),
        ("rtp/*", "RTP/17", true),
        ("rtp/*", "ds1/1", false),
        ("ds1/*/3", "ds1/12/3", true),
        ("ds1/*/3", "ds1/3", false),
        ("*/1/*", "a/1/b", true),
        ("rtp/1", "rtp/1", true),
        ("rtp/1", "rtp/12", false),
    ] {
        assert_eq!(named(wild).takes(&named(exact)), stands, "{wild} {exact}");
    }
}

#[test]
fn a_mode_is_replaced_where_there_is_one() {
    let message = parse(ADD);
    let stream = &message.transactions()[0].actions[0].commands[1].streams[0];
    let mut edit = Edit::new(&message);
    edit.mode(stream, Mode::SendReceive);
    let text = String::from_utf8(ADD.to_vec()).unwrap().replace("ReceiveOnly", "SendReceive");
    assert_eq!(edit.finish(), text.as_bytes());
    let message = parse(ADDED);
    let stream = &message.transactions()[0].actions[0].commands[1].streams[0];
    let mut edit = Edit::new(&message);
    edit.mode(stream, Mode::SendReceive);
    assert_eq!(edit.finish(), ADDED);
}

#[test]
fn a_subtraction_of_our_own_names_its_termination_as_it_was_named() {
    let mid = Mid::of("198.51.100.10:2944".parse().unwrap());
    for encoding in [Encoding::Text, Encoding::Ber] {
        let with = Envelope { encoding, version: 1, mid: &mid };
        let named = parse(ADDED).transactions()[0].actions[0].commands[1].terminations[0].clone();
        let bytes = with.subtract(5, Context::Id(2000), &named);
        let message = parse(&bytes);
        let (context, command) = message.transactions()[0].commands().next().unwrap();
        assert_eq!((context, command.verb), (Context::Id(2000), Verb::Subtract));
        assert_eq!(command.terminations[0].name(), named.name());
    }
}
