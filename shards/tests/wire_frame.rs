//! Messages and keepalives one after the other on a stream, cut anywhere, are the same messages and keepalives.

use portolan_shards::limits::MAX_MESSAGE;
use portolan_shards::wire::sip::{Frame, Framer, Message};
use proptest::prelude::*;
use proptest::sample::Index;

/// One message: a request or a response, with this body, whose length is told in one of the ways there are.
fn message(response: bool, body: &[u8], way: usize) -> Vec<u8> {
    let start = if response { "SIP/2.0 200 OK" } else { "MESSAGE sip:b@c SIP/2.0" };
    let length = body.len();
    let told = match way {
        0 => format!("Content-Length: {length}\r\n"),
        1 => format!("l:{length}\r\n"),
        2 => format!("CONTENT-LENGTH :\r\n\t{length}\r\n"),
        3 => format!("L: 00{length} \r\nContent-Length: {length}\r\n"),
        _ => String::new(),
    };
    let head = format!(
        "{start}\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nTo: <sip:b@h>\r\nFrom: <sip:a@h>;tag=t1\r\nCall-ID: c1\r\n\
         CSeq: 7 MESSAGE\r\nSubject: a\r\n b\r\n{told}\r\n"
    );
    [head.as_bytes(), if way < 4 { body } else { &[] }].concat()
}

/// What one end may write, and the frame it is. Line ends in a body are the bait.
fn piece() -> impl Strategy<Value = (Vec<u8>, Frame)> {
    let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'l'), any::<u8>()];
    let body = proptest::collection::vec(octet, 0..40);
    prop_oneof![
        4 => (any::<bool>(), body, 0..5_usize).prop_map(|(response, body, way)| {
            let bytes = message(response, &body, way);
            let frame = Frame::Message(bytes.len());
            (bytes, frame)
        }),
        1 => Just((b"\r\n\r\n".to_vec(), Frame::Ping(4))),
    ]
}

/// The frames of a stream that arrives up to each of the cuts in turn.
fn frames(stream: &[u8], cuts: &[usize]) -> Vec<Frame> {
    let (mut framer, mut found, mut at) = (Framer::default(), Vec::new(), 0);
    for &end in cuts {
        while let frame @ (Frame::Message(len) | Frame::Ping(len) | Frame::Pong(len)) =
            framer.next(&stream[at..end], MAX_MESSAGE)
        {
            at += len;
            found.push(frame);
        }
    }
    found
}

proptest! {
    #[test]
    fn any_cuts_give_the_frames_that_were_written(
        pieces in proptest::collection::vec(piece(), 1..12),
        cuts in proptest::collection::vec(any::<Index>(), 0..40),
    ) {
        let stream: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let written: Vec<Frame> = pieces.iter().map(|(_, frame)| *frame).collect();
        prop_assert_eq!(frames(&stream, &cuts), written);
    }

    #[test]
    fn the_parser_sees_the_same_end(response: bool, body in proptest::collection::vec(any::<u8>(), 0..40), way in 0..5_usize) {
        let one = message(response, &body, way);
        let parsed = Message::parse(&one).expect("a sound message");
        prop_assert_eq!(parsed.body_span().end, one.len());
        let followed = [&one[..], b"\r\n\r\nOPTIONS"].concat();
        prop_assert_eq!(frames(&followed, &[followed.len()]), [Frame::Message(one.len()), Frame::Ping(4)]);
    }
}
