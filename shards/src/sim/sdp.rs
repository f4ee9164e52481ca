//! One audio stream in SDP: just enough to offer, answer and check.

use std::net::{IpAddr, SocketAddr};

/// Which way media may flow, seen from the describing end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The describing end only sends.
    SendOnly,
    /// It only receives.
    RecvOnly,
    /// Not at all: on hold.
    Inactive,
}

impl Direction {
    /// In the order in which they are looked for; what is not said is both ways (RFC 3264 section 5.1).
    const NAMES: [(&'static str, Self); 4] = [
        ("sendonly", Self::SendOnly),
        ("recvonly", Self::RecvOnly),
        ("inactive", Self::Inactive),
        ("sendrecv", Self::SendRecv),
    ];

    /// The answer that takes all of an offer (RFC 3264 section 6.1).
    pub const fn answered(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    /// May the end that got this description send?
    pub const fn listens(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, way)| *way == self).map_or("sendrecv", |(name, _)| name)
    }
}

/// What a description says about its audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Where RTP goes.
    pub rtp: SocketAddr,
    /// Where RTCP goes: `a=rtcp`, else the next port (RFC 3605).
    pub rtcp: SocketAddr,
    /// May media flow?
    pub direction: Direction,
}

/// Describe a PCMU stream at `rtp`. `session` and `version` make up the o= line.
pub fn describe(session: u64, version: u32, rtp: SocketAddr, direction: Direction) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let way = direction.name();
    format!(
        "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na={way}\r\n"
    )
}

/// Read a description. The error names what is wrong with it.
pub fn read(text: &str) -> Result<Audio, String> {
    if !text.starts_with("v=0\r\no=") {
        return Err("SDP does not begin with v=0 and o=".into());
    }
    let line = |prefix: &str| text.split("\r\n").find_map(|l| l.strip_prefix(prefix).map(str::to_owned));
    let owner = line("o=").unwrap_or_default();
    if owner.split(' ').count() != 6 {
        return Err(format!("o={owner}"));
    }
    let media = line("m=audio ").ok_or("no audio stream")?;
    let port =
        media.split(' ').next().and_then(|p| p.parse::<u16>().ok()).ok_or(format!("m=audio {media}"))?;
    if !media.split(' ').skip(2).any(|format| format == "0") {
        return Err(format!("no PCMU in m=audio {media}"));
    }
    let ip =
        line("c=").and_then(|c| c.split(' ').nth(2)?.parse::<IpAddr>().ok()).ok_or("no address in c=")?;
    let rtcp = line("a=rtcp:").and_then(|v| rtcp_address(&v, ip));
    let rtp = SocketAddr::new(ip, port);
    let said = |way: &str| text.contains(&format!("\r\na={way}\r\n"));
    let direction = Direction::NAMES.into_iter().find(|(name, _)| said(name));
    let direction = direction.map_or(Direction::SendRecv, |(_, way)| way);
    Ok(Audio { rtp, rtcp: rtcp.unwrap_or(SocketAddr::new(ip, port.saturating_add(1))), direction })
}

/// `port` or `port IN IP4 address` (RFC 3605).
fn rtcp_address(value: &str, ip: IpAddr) -> Option<SocketAddr> {
    let mut words = value.split(' ');
    let port = words.next()?.parse().ok()?;
    let other = words.nth(2).and_then(|a| a.parse().ok());
    Some(SocketAddr::new(other.unwrap_or(ip), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_describes() {
        let rtp = "192.168.1.10:7000".parse().expect("address");
        let audio = read(&describe(1, 1, rtp, Direction::Inactive)).expect("audio");
        assert_eq!(audio.rtp, rtp);
        assert_eq!(audio.rtcp.port(), 7001);
        assert_eq!(audio.direction, Direction::Inactive);
    }

    #[test]
    fn honours_a_rtcp_attribute() {
        let rtp = "10.0.0.1:7000".parse().expect("address");
        let text = describe(1, 1, rtp, Direction::SendRecv) + "a=rtcp:9001 IN IP4 10.0.0.2\r\n";
        assert_eq!(read(&text).expect("audio").rtcp, "10.0.0.2:9001".parse().expect("address"));
    }
}
