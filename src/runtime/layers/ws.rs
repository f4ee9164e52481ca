//! WebSocket between octets and messages (RFC 6455), as SIP uses it (RFC 7118): the server's side.

use super::{Fault, Pipe, Upward, broken};
use bytes::Bytes;
use portolan_shards::limits::MAX_STREAM_MESSAGE;
use std::fmt;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::{HeaderValue, Response, StatusCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Octets of the HTTP request at most.
const MAX_REQUEST: usize = 8192;
/// The subprotocol (RFC 7118 section 4.1).
const SUBPROTOCOL: &str = "sip";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// One WebSocket connection.
pub(in crate::runtime) enum Ws {
    /// The beginning of the HTTP request.
    Asked(Vec<u8>),
    /// Messages come and go.
    Open(Box<WebSocketContext>),
}

impl Default for Ws {
    fn default() -> Self {
        Self::Asked(Vec::new())
    }
}

impl fmt::Debug for Ws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ws").field("ready", &self.is_ready()).finish()
    }
}

impl Ws {
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Takes octets; messages and answers go to `up`.
    pub(super) fn take(&mut self, octets: &[u8], up: &mut Upward) -> Result<(), Fault> {
        match self {
            Self::Open(context) => receive(context, octets, up),
            Self::Asked(request) => {
                let from = request.len().saturating_sub(3);
                request.extend_from_slice(octets);
                let Some(end) = blank_line(request, from).filter(|&end| end <= MAX_REQUEST) else {
                    return if request.len() < MAX_REQUEST { Ok(()) } else { refuse(up, 431) };
                };
                let rest = request.split_off(end);
                answer(request, up)?;
                let mut context = WebSocketContext::new(Role::Server, Some(config()));
                let result = if rest.is_empty() { Ok(()) } else { receive(&mut context, &rest, up) };
                *self = Self::Open(Box::new(context));
                result
            }
        }
    }

    /// A message in a frame of its own: text where it is text, because some clients read nothing else.
    pub(super) fn give(&mut self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let Self::Open(context) = self else { return Err(Fault::Broken) };
        let message = match std::str::from_utf8(message) {
            Ok(text) => Message::text(text),
            Err(_) => Message::Binary(Bytes::copy_from_slice(message)),
        };
        let mut out = Vec::new();
        let mut pipe = Pipe { octets: &[], out: &mut out };
        context.write(&mut pipe, message).map_err(|error| broken("websocket", &error))?;
        context.flush(&mut pipe).map_err(|error| broken("websocket", &error))?;
        Ok(out)
    }

    /// A closing frame.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Self::Open(context) = self
            && let Err(error) = context.close(&mut Pipe { octets: &[], out: &mut out }, None)
        {
            tracing::debug!(%error, "a websocket was closed already");
        }
        out
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_STREAM_MESSAGE))
        .max_frame_size(Some(MAX_STREAM_MESSAGE))
}

/// Reads frames until no whole one is left; pings and closing frames are answered on the way.
fn receive(context: &mut WebSocketContext, octets: &[u8], up: &mut Upward) -> Result<(), Fault> {
    let mut pipe = Pipe { octets, out: &mut up.answer };
    loop {
        match context.read(&mut pipe) {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => up.messages.push(message.into_data()),
            Ok(Message::Close(_)) => up.over = true,
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                up.over = true;
                return Ok(());
            }
            Err(error) => return Err(broken("websocket", &error)),
        }
    }
}

/// Offset after the blank line that ends the request.
fn blank_line(request: &[u8], from: usize) -> Option<usize> {
    request[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Answers the HTTP request.
fn answer(request: &[u8], up: &mut Upward) -> Result<(), Fault> {
    let Ok(Some((_, request))) = Request::try_parse(request) else { return refuse(up, 400) };
    let offered = request.headers().get_all(PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if !offered.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(SUBPROTOCOL)) {
        return refuse(up, 400);
    }
    // What is an HTTP request but not a good one for a WebSocket is told what would be.
    let Ok(mut response) = create_response(&request) else { return refuse(up, 426) };
    response.headers_mut().insert(PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    write_response(&mut up.answer, &response).map_err(|error| broken("websocket", &error))
}

fn refuse(up: &mut Upward, status: u16) -> Result<(), Fault> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = Response::builder().status(status).header("Connection", "close");
    if status == StatusCode::UPGRADE_REQUIRED {
        response = response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    }
    let response = response.header("Content-Length", "0").body(());
    let response = response.map_err(|error| broken("websocket", &error))?;
    write_response(&mut up.answer, &response).map_err(|error| broken("websocket", &error))?;
    Err(broken("websocket", &status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: chat, SIP\r\n\r\n";

    fn asked(request: &str) -> (Ws, Result<(), Fault>, String) {
        let (mut ws, mut up) = (Ws::default(), Upward::default());
        let result = ws.take(request.as_bytes(), &mut up);
        (ws, result, String::from_utf8(up.answer).unwrap())
    }

    /// A frame as a client masks it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(octet, mask)| octet ^ mask));
        frame
    }

    fn open() -> Ws {
        asked(REQUEST).0
    }

    #[test]
    fn a_request_for_sip_is_accepted_however_it_is_cut() {
        let (ws, result, answer) = asked(REQUEST);
        assert!(ws.is_ready() && result.is_ok());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        assert!(answer.to_lowercase().contains("sec-websocket-protocol: sip\r\n"), "{answer}");
        let (mut ws, mut up) = (Ws::default(), Upward::default());
        for octet in REQUEST.as_bytes() {
            assert!(!ws.is_ready());
            ws.take(std::slice::from_ref(octet), &mut up).unwrap();
        }
        assert_eq!(String::from_utf8(up.answer).unwrap(), answer);
    }

    #[test]
    fn other_requests_are_refused() {
        let version = REQUEST.replace("Version: 13", "Version: 8");
        for (request, status) in [
            (REQUEST.replace("SIP", "sips"), "400"),
            (REQUEST.replace("GET / HTTP/1.1", "NOT HTTP"), "400"),
            (REQUEST.replace("Upgrade: websocket\r\n", ""), "426"),
            (version, "426"),
            (REQUEST.replace("Host: a", &format!("Host: {}", "a".repeat(9000))), "431"),
        ] {
            let (ws, result, answer) = asked(&request);
            assert!(!ws.is_ready() && result == Err(Fault::Broken), "{request}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }

    #[test]
    fn frames_become_messages() {
        let (mut ws, mut up) = (open(), Upward::default());
        let mut octets = frame(0x81, b"text");
        octets.extend(frame(0x82, &[0xff, 0]));
        octets.extend(frame(0x01, b"in "));
        octets.extend(frame(0x89, b"ping"));
        octets.extend(frame(0x80, b"two"));
        octets.iter().for_each(|octet| ws.take(&[*octet], &mut up).unwrap());
        assert_eq!(up.messages, [&b"text"[..], &[0xff, 0], b"in two"]);
        assert_eq!(up.answer, b"\x8a\x04ping");
    }

    #[test]
    fn rules_are_enforced() {
        let mut huge = vec![0x82, 0xff];
        huge.extend((MAX_STREAM_MESSAGE as u64 + 1).to_be_bytes());
        huge.extend([0; 4]);
        for octets in [b"\x81\x01a".to_vec(), huge, frame(0x81, &[0xff]), frame(0x85, b"?")] {
            assert_eq!(open().take(&octets, &mut Upward::default()), Err(Fault::Broken), "{octets:?}");
        }
    }

    #[test]
    fn a_closing_frame_is_answered() {
        let mut up = Upward::default();
        open().take(&frame(0x88, &[3, 232]), &mut up).unwrap();
        assert!(up.over);
        assert_eq!(up.answer, b"\x88\x02\x03\xe8");
    }

    #[test]
    fn what_is_not_text_goes_as_octets() {
        assert_eq!(open().give(b"hi").unwrap(), b"\x81\x02hi");
        assert_eq!(open().give(&[0xff]).unwrap(), [0x82, 1, 0xff]);
        assert_eq!(open().end(), [0x88, 0]);
        assert_eq!(Ws::default().give(b"early"), Err(Fault::Broken));
    }
}
