//! H.248 in text and in binary: what is found in messages as gateways and controllers write them, and what is refused.

use portolan_shards::fault::Fault;
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
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let name = |path: &std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_string();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
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
            let text = String::from_utf8(message.sdp(group).into_owned()).unwrap();
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
