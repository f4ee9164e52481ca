//! What must hold for any octets that are taken for a stream of SIP messages.

use portolan_shards::limits::{MAX_HEADER_OCTETS, MAX_MESSAGE};
use portolan_shards::wire::sip::{Frame, Framer, Message, frame, is_ping};

/// Frames `data` whole and in pieces, and compares what the message parser says about the same octets.
pub(crate) fn run(data: &[u8]) {
    for limit in [MAX_MESSAGE, 300] {
        let whole = frames(data, limit, data.len().max(1));
        for step in [1, 2, 3, 7, 61] {
            assert_eq!(frames(data, limit, step), whole, "in pieces of {step}");
        }
        tiles(data, limit, &whole);
    }
    if let Ok(message) = Message::parse(data) {
        parsed(&message);
    }
}

/// All frames of a stream that arrives in pieces of `step` octets; nothing follows a broken one.
pub(crate) fn frames(data: &[u8], limit: usize, step: usize) -> Vec<Frame> {
    let (mut framer, mut found, mut at) = (Framer::default(), Vec::new(), 0);
    for piece in 1..=data.len().div_ceil(step) {
        let end = data.len().min(piece * step);
        loop {
            let next = framer.next(&data[at..end], limit);
            match next {
                Frame::Partial => break,
                Frame::Message(len) | Frame::Ping(len) | Frame::Pong(len) => at += len,
                Frame::Broken(_) => {}
            }
            found.push(next);
            if matches!(next, Frame::Broken(_)) {
                return found;
            }
        }
    }
    found
}

/// Every frame is within the stream and what it says it is; a whole message that can be read fills its frame.
fn tiles(data: &[u8], limit: usize, frames: &[Frame]) {
    let mut at = 0;
    for found in frames {
        let len = match *found {
            Frame::Message(len) | Frame::Ping(len) | Frame::Pong(len) => len,
            Frame::Partial | Frame::Broken(_) => return,
        };
        assert!(len > 0 && at + len <= data.len());
        let octets = &data[at..at + len];
        assert_eq!(is_ping(octets), !matches!(found, Frame::Message(_)));
        assert!(len <= limit.max(4));
        if let Ok(message) = Message::parse(octets) {
            assert_eq!(message.body_span().end, len, "octets after the body");
        }
        at += len;
    }
}

/// What can be read as a datagram is framed to the same body, or to none where the datagram's end was the body's.
fn parsed(message: &Message<'_>) {
    let data = message.bytes();
    let body = message.body_span();
    if data.starts_with(b"\r") || data.starts_with(b"\n") || body.start > MAX_HEADER_OCTETS {
        return;
    }
    let end = message.content_length().map_or(body.start, |_| body.end);
    assert_eq!(frame(data, MAX_MESSAGE), Frame::Message(end));
}
