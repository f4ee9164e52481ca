//! Descriptions of one audio stream.

use std::net::{IpAddr, SocketAddr};

/// One audio stream, as an end describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Where it listens for RTP.
    pub rtp: SocketAddr,
    /// Milliseconds of audio in a packet.
    pub ptime: u32,
    /// What `b=AS` asks for, in kbit/s.
    pub kbit: u32,
}

impl Audio {
    /// Octets of a packet on the wire below IP: 160 of payload and the RTP header.
    const PACKET: f64 = 172.0;

    /// A stream of this many packets a second from each end. The real rate stays below what it asks for.
    pub fn at_rate(rtp: SocketAddr, packets_per_s: f64) -> Self {
        let packets_per_s = packets_per_s.max(1.0);
        let ptime = (1_000.0 / packets_per_s).floor().clamp(1.0, 200.0) as u32;
        let kbit = (packets_per_s * Self::PACKET * 8.0 / 1_000.0 * 1.2).ceil().max(80.0) as u32;
        Self { rtp, ptime, kbit }
    }

    /// The description, as phones write it.
    pub fn describe(&self) -> String {
        let (ip, port, Self { ptime, kbit, .. }) = (self.rtp.ip(), self.rtp.port(), *self);
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\n\
             b=AS:{kbit}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-15\r\na=ptime:{ptime}\r\na=sendrecv\r\n"
        )
    }
}

/// Where the first stream of a description listens.
pub fn media_address(sdp: &str) -> Option<SocketAddr> {
    let line = |kind: &str| sdp.lines().rev().find_map(|line| line.trim_end().strip_prefix(kind));
    let ip: IpAddr = line("c=IN IP4 ")?.parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_says_where_it_listens() {
        let rtp = "127.0.0.9:4002".parse().expect("address");
        assert_eq!(media_address(&Audio::at_rate(rtp, 50.0).describe()), Some(rtp));
        assert_eq!(media_address("v=0\r\n"), None);
    }

    #[test]
    fn it_asks_for_more_than_it_sends() {
        let rtp = "127.0.0.9:4002".parse().expect("address");
        let ordinary = Audio::at_rate(rtp, 50.0);
        assert_eq!((ordinary.ptime, ordinary.kbit), (20, 83));
        let dense = Audio::at_rate(rtp, 500.0);
        assert_eq!((dense.ptime, dense.kbit), (2, 826));
        assert_eq!(Audio::at_rate(rtp, 0.1).ptime, 200);
    }
}
