//! Which addresses a message announces for media, read without Portolan's own scanner.

use std::net::{IpAddr, SocketAddr};

/// RTP and RTCP addresses that the description inside a message announces: the port of every `m=` line and of
/// `a=rtcp`, at the address of the nearest `c=` line.
pub fn media_addresses(message: &[u8]) -> Vec<SocketAddr> {
    let Some(start) = find(message, b"\r\n\r\nv=0") else { return Vec::new() };
    let text = String::from_utf8_lossy(&message[start..]);
    let mut found = Vec::new();
    let (mut session, mut ports) = (None, Vec::new());
    let mut address = None;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            place(&mut found, address, &mut ports);
            address = session;
            ports.extend(media.split(' ').nth(1).and_then(port));
        } else if let Some(connection) = line.strip_prefix("c=") {
            address = connection.split(' ').nth(2).and_then(|host| host.parse().ok());
            session = if ports.is_empty() && found.is_empty() { address } else { session };
        } else if let Some(rtcp) = line.strip_prefix("a=rtcp:") {
            ports.extend(port(rtcp.split(' ').next().unwrap_or_default()));
        }
    }
    place(&mut found, address, &mut ports);
    found
}

/// Does `message` contain `word`?
pub fn contains(message: &[u8], word: &[u8]) -> bool {
    find(message, word).is_some()
}

fn find(message: &[u8], word: &[u8]) -> Option<usize> {
    message.windows(word.len()).position(|window| window == word)
}

/// A port; 0 rejects or ends a stream and announces nothing.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0)
}

fn place(found: &mut Vec<SocketAddr>, address: Option<IpAddr>, ports: &mut Vec<u16>) {
    let places = ports.drain(..).filter_map(|port| Some(SocketAddr::new(address?, port)));
    found.extend(places);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(description: &str) -> Vec<String> {
        let message = format!("INVITE sip:b SIP/2.0\r\n\r\n{description}");
        media_addresses(message.as_bytes()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_session_address_serves_streams_without_their_own() {
        let found = places(
            "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\nc=IN IP4 10.0.0.2\r\n",
        );
        assert_eq!(found, ["10.0.0.1:4000", "10.0.0.2:4002"]);
    }

    #[test]
    fn an_explicit_rtcp_port_counts_and_a_rejected_stream_does_not() {
        let found = places(
            "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4009\r\nm=video 0 RTP/AVP 96\r\n",
        );
        assert_eq!(found, ["10.0.0.1:4000", "10.0.0.1:4009"]);
    }

    #[test]
    fn a_message_without_a_description_announces_nothing() {
        assert!(media_addresses(b"OPTIONS sip:a SIP/2.0\r\n\r\n").is_empty());
    }
}
