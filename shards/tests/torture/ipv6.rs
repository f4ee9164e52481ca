//! Our own messages in the shapes of RFC 5118 section 4, each named by its section.

/// Name and text of each message, line ends as LF.
pub(crate) const MESSAGES: [(&str, &str); 12] = [
    (
        "4.1 reference",
        "REGISTER sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=v41\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv41\nCall-ID: v41\nMax-Forwards: 70\n\
         Contact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
    ),
    (
        "4.2 no brackets",
        "REGISTER sip:2001:db8::10 SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=v42\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv42\nCall-ID: v42\nMax-Forwards: 70\n\
         Contact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
    ),
    (
        "4.3 port within the brackets",
        "REGISTER sip:[2001:db8::10:5070] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=v43\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv43\nCall-ID: v43\nMax-Forwards: 70\n\
         Contact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
    ),
    (
        "4.4 port after the brackets",
        "REGISTER sip:[2001:db8::10]:5070 SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=v44\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv44\nCall-ID: v44\nMax-Forwards: 70\n\
         Contact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n",
    ),
    (
        "4.5 received in brackets",
        "BYE sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com;tag=bd76ya\nFrom: sip:user@example.com;tag=v45\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKv45\nCall-ID: v45\n\
         Max-Forwards: 70\nCSeq: 321 BYE\nContent-Length: 0\n\n",
    ),
    (
        "4.5 received without brackets",
        "OPTIONS sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=v45b\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKv45b\nCall-ID: v45b\n\
         Max-Forwards: 70\nContact: \"Caller\" <sip:caller@[2001:db8::9:1]>\nCSeq: 921 OPTIONS\nContent-Length: 0\n\n",
    ),
    (
        "4.6 IPv6 in SDP",
        "INVITE sip:user@[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=v46\n\
         Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKv46\nCall-ID: v46\nContact: \"Caller\" <sip:caller@[2001:db8::20]>\n\
         CSeq: 8612 INVITE\nMax-Forwards: 70\nContent-Type: application/sdp\n\n\
         v=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for meeting\n\
         c=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n\
         m=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n",
    ),
    (
        "4.7 several addresses in headers",
        "BYE sip:user@host.example.net SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKv47\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n\
         Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\nCall-ID: v47\n\
         Max-Forwards: 70\nCSeq: 89187 BYE\nTo: sip:user@example.net;tag=9817--94\n\
         From: sip:user@example.com;tag=v47\nContent-Length: 0\n\n",
    ),
    (
        "4.8 several addresses in SDP",
        "INVITE sip:user@[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=v48\n\
         Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv48\nCall-ID: v48\nContact: \"Caller\" <sip:caller@[2001:db8::9:1]>\n\
         Max-Forwards: 70\nCSeq: 8912 INVITE\nContent-Type: application/sdp\n\n\
         v=0\no=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\n\
         c=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n",
    ),
    (
        "4.9 IPv4-mapped",
        "INVITE sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@east.example.com;tag=v49\n\
         Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKv49\n\
         Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\nCall-ID: v49\n\
         Contact: \"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>\nCSeq: 612 INVITE\nMax-Forwards: 70\n\
         Content-Type: application/sdp\n\n\
         v=0\no=assistant 971731711378798081 0 IN IP6 ::ffff:192.0.2.2\ns=Call me soon, please!\n\
         c=IN IP6 ::ffff:192.0.2.2\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n\
         m=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n",
    ),
    (
        "4.10 three colons",
        "OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\nTo: sip:user@[2001:db8:::192.0.2.1]\n\
         From: sip:user@example.com;tag=v410a\nVia: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKv410a\n\
         Call-ID: v410a\nCSeq: 689 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n",
    ),
    (
        "4.10 two colons",
        "OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0\nTo: sip:user@[2001:db8::192.0.2.1]\n\
         From: sip:user@example.com;tag=v410b\nVia: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKv410b\n\
         Call-ID: v410b\nCSeq: 689 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n",
    ),
];
