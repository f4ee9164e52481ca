#!/usr/bin/env python3
"""Judges what tshark saw on both sides of Portolan.

judge.py [--protocol PROTOCOL] [--reader PYTHON] [--media N] [--call-id] [--sealed SIDE] ACCESS.pcapng CORE.pcapng

0. Signaling on both sides: SIP, or what PROTOCOL says.
1. No private address and no address of a NAT in any signaling on the core side; no core address on the access side.
2. No malformed signaling message. Binary H.248 is read by pycrate (in the Python that is --reader's), not by tshark.
3. Media only on ports that were announced before, on both sides; on the core side both ends of it. Not on a side whose
   signaling is --sealed by TLS.
4. No media packet changed on its way, and none invented.
5. No port unreachable before the first farewell (BYE, CANCEL, DLCX or a refusal), but for a terminal that is asked whether it lives.
6. With --media: every leg that carried media carried at least N packets each way, and there was such a leg.

Exit 0 if all hold; else each offence is a line.
"""
import argparse
import collections
import dataclasses
import pathlib
import re
import subprocess
import sys


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How the judge knows signaling: by the port of Portolan, or by what every message of a client of any port holds."""

    ports: frozenset
    mark: re.Pattern
    farewell: re.Pattern
    # What tshark calls it, by ports.
    dissectors: dict


PROTOCOLS = {
    "sip": Protocol(
        frozenset({5060, *range(6000, 6064)}),
        mark=re.compile(rb"SIP/2\.0"),
        farewell=re.compile(rb"(?:BYE|CANCEL) sip:|\ASIP/2.0 [456]"),
        dissectors={"5060": "sip", "6000-6063": "sip"},
    ),
    "mgcp": Protocol(
        frozenset({2427, 2727, *range(6200, 6264)}),
        mark=re.compile(rb"\A[A-Z]{4} \d+ \S+ MGCP 1\.0"),
        farewell=re.compile(rb"\ADLCX |\A[45]\d\d \d+"),
        dissectors={"2427": "mgcp", "2727": "mgcp", "6200-6263": "mgcp"},
    ),
    # Those of binary messages too, as text.
    "h248": Protocol(
        frozenset({2944, 2945, *range(30000, 31000)}),
        mark=re.compile(rb"\A(?:MEGACO|!)/\d"),
        farewell=re.compile(rb"\b(?:Subtract|S|Error|ER)\s*=|subtractReq|errorDescriptor"),
        dissectors={"2944": "megaco"},
    ),
}
# Two texts that a proxy must leave alone: the URI over which a client computed its digest, and the name that a client
# gave its stream (RFC 5576), which its RTCP carries, too.
HARMLESS = re.compile(rb'^(?:Proxy-)?Authorization:.*\buri="[^"]*"|^a=ssrc:\d+ cname:\S+')
# With --call-id: a client that names itself in its Call-ID, which is opaque and passes.
CALL_ID = re.compile(HARMLESS.pattern + rb"|^Call-ID:.*")
# Octets before a message in a stream.
TPKT = 4
FIELDS = (
    "frame.number frame.time_epoch ip.src ipv6.src ip.dst ipv6.dst udp.srcport udp.dstport udp.payload tcp.srcport tcp.dstport tcp.payload icmp.type icmpv6.type _ws.malformed"
).split()


@dataclasses.dataclass(frozen=True)
class Side:
    """One side as the judge expects it."""

    name: str
    own: re.Pattern
    peers: re.Pattern
    forbidden: re.Pattern


ACCESS = Side(
    "access",
    own=re.compile(r"198\.51\.100\.1[0-4]$|2001:db8::10$"),
    peers=re.compile(r"203\.0\.113\.\d+$|2001:db8:1::"),
    forbidden=re.compile(rb"(?<![\d.])10\.0\.0\.\d+|fd00::"),
)
CORE = Side(
    "core",
    own=re.compile(r"10\.0\.0\.10$|fd00::10$"),
    peers=re.compile(r"10\.0\.0\.\d+$|fd00::"),
    forbidden=re.compile(rb"(?<![\d.])(?:192\.168|100\.64|203\.0|198\.51)\.\d+\.\d+|2001:db8:"),
)


@dataclasses.dataclass(frozen=True)
class Packet:
    """One datagram, or the ICMP error about one."""

    side: Side
    number: int
    time: float
    source: tuple
    target: tuple
    payload: bytes
    icmp: str
    malformed: bool
    stream: bool
    protocol: Protocol

    @property
    def ends(self):
        return (self.source, self.target)

    @property
    def is_signaling(self):
        ports = self.protocol.ports
        return self.stream or any(end[1] in ports for end in self.ends if self.own(end)) or bool(self.protocol.mark.search(self.payload))

    @property
    def is_rtp(self):
        head = self.payload[:2]
        return len(self.payload) >= 12 and head[0] >> 6 == 2 and not 200 <= head[1] <= 207

    def own(self, end):
        return bool(self.side.own.match(end[0]))

    def __str__(self):
        (a, b), (c, d) = self.ends
        return f"{self.side.name} frame {self.number} {a}:{b} -> {c}:{d}"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--protocol", choices=PROTOCOLS, default="sip")
    options.add_argument("--reader", default=sys.executable)
    options.add_argument("--media", type=int)
    options.add_argument("--call-id", action="store_true")
    options.add_argument("--sealed", action="append", default=[], choices=["access", "core"])
    options.add_argument("access")
    options.add_argument("core")
    chosen = options.parse_args()
    protocol = PROTOCOLS[chosen.protocol]
    captures = ((chosen.access, ACCESS), (chosen.core, CORE))
    packets = sorted((p for path, side in captures for p in read(path, side, protocol)), key=lambda p: p.time)
    if chosen.protocol == "h248":
        packets = list(as_text(framed(packets), chosen.reader))
    signaling = [p for p in packets if not p.icmp and p.is_signaling]
    media = [p for p in packets if not p.icmp and not p.is_signaling]
    offences = [
        *mute(signaling, chosen.sealed),
        *strangers(packets),
        *leaks(signaling, CALL_ID if chosen.call_id else HARMLESS),
        *malformed(signaling),
        *unannounced(packets, chosen.sealed),
        *altered(media),
        *unreachable(packets),
        *silent(media, chosen.media),
    ]
    rtp = sum(p.is_rtp for p in media)
    messages = ", ".join(f"{sum(p.side is side for p in signaling)} {side.name}" for side in (ACCESS, CORE))
    print(f"{len(signaling)} signaling datagrams ({messages}), {rtp} RTP and {len(media) - rtp} RTCP packets: {len(offences)} offences")
    for offence in offences[:20]:
        print(f"  {offence}")
    return 1 if offences or not packets else 0


def read(path, side, protocol):
    """Lets tshark dissect a capture and takes its fields."""
    command = ["tshark", "-r", path, "-T", "fields", "-E", "occurrence=f", "-E", "separator=|"]
    for transport in "udp", "tcp":
        for ports, dissector in protocol.dissectors.items():
            command += ["-d", f"{transport}.port=={ports},{dissector}"]
    # All but the last fragment of a datagram have no ports: tshark shows the whole where it ends.
    command += ["-Y", "udp or tcp or icmp or icmpv6"]
    for field in FIELDS:
        command += ["-e", field]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [packet(line.split("|"), side, protocol) for line in text.splitlines()]


def packet(row, side, protocol):
    number, time, source, source6, target, target6, sport, dport, payload, *tcp, icmp, icmp6, bad = row
    stream, payload = bool(tcp[0]), payload or tcp[2]
    return Packet(
        side,
        int(number),
        float(time),
        (source or source6, int(sport or tcp[0] or 0)),
        (target or target6, int(dport or tcp[1] or 0)),
        bytes.fromhex(payload.replace(":", "")),
        {"3": "unreachable"}.get(icmp, icmp) or {"1": "unreachable"}.get(icmp6, icmp6),
        bool(bad),
        stream,
        protocol,
    )


def framed(packets):
    """Segments of streams become the messages in them (TPKT, RFC 1006 section 6), each when its last octet is there."""
    streams = collections.defaultdict(bytes)
    for p in packets:
        if not p.stream:
            yield p
            continue
        held = streams[p.side.name, p.ends] + p.payload
        while len(held) >= TPKT and len(held) >= (length := int.from_bytes(held[2:TPKT], "big")) > TPKT:
            yield dataclasses.replace(p, payload=held[TPKT:length])
            held = held[length:]
        streams[p.side.name, p.ends] = held
    for (side, ends), held in streams.items():
        if held:
            sys.exit(f"{side} {ends}: {len(held)} octets at the end that are no whole message")


def as_text(packets, reader):
    """Binary messages of H.248 as text; what cannot be read is malformed."""
    packets = list(packets)
    binary = [p for p in packets if not p.icmp and p.is_signaling and p.payload and not p.protocol.mark.search(p.payload)]
    command = [reader, pathlib.Path(__file__).with_name("h248_text.py")]
    lines = "".join(f"{p.payload.hex()}\n" for p in binary)
    texts = subprocess.run(command, input=lines, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    read = {id(p): text for p, text in zip(binary, texts, strict=True)}
    for p in packets:
        text = read.get(id(p))
        if text is None:
            yield p
        elif text.startswith("malformed"):
            yield dataclasses.replace(p, malformed=True)
        else:
            yield dataclasses.replace(p, payload=bytes.fromhex(text), malformed=False)


def mute(signaling, sealed):
    """A side without one message proves nothing."""
    for side in (ACCESS, CORE):
        if side.name not in sealed and not any(p.side is side for p in signaling):
            yield f"no signaling on the {side.name} side"


def strangers(packets):
    """Addresses that have no business on this wire: the translation of the IP header itself."""
    for p in packets:
        for end in p.ends:
            if not p.own(end) and not p.side.peers.match(end[0]):
                yield f"{p}: {end[0]} does not belong on this side"


def leaks(signaling, harmless):
    for p in signaling:
        for line in p.payload.split(b"\r\n"):
            if p.side.forbidden.search(harmless.sub(b"", line)):
                yield f"{p}: leaks {line.decode(errors='replace')}"


def malformed(signaling):
    return [f"{p}: malformed, says tshark" for p in signaling if p.malformed]


def announced(payload):
    """The addresses where the sender of an SDP wants its RTP and RTCP."""
    for description in re.split(rb"(?m)^v=", payload)[1:]:
        session = re.split(rb"(?m)^m=", description)
        default = connection(session[0])
        for media in session[1:]:
            address = connection(media) or default
            # A gateway may be asked to choose ("$").
            port = int((re.match(rb"\w+ (\d+)", media) or [0, 0])[1])
            rtcp = re.search(rb"(?m)^a=rtcp:(\d+)", media)
            if address and port:
                yield address, port
                yield address, int(rtcp[1]) if rtcp else port + 1


def connection(text):
    found = re.search(rb"(?m)^c=IN IP\d (\S+)", text)
    return found[1].decode() if found else None


def unannounced(packets, sealed):
    known = set()
    told = set()
    for p in packets:
        if p.icmp or p.side.name in sealed:
            continue
        if p.is_signaling:
            known.update((p.side.name, end) for end in announced(p.payload))
            continue
        # A NAT chooses the outer port of a terminal: only on the core side are both ends announced.
        ends = p.ends if p.side is CORE else [end for end in p.ends if p.own(end)]
        for end in ends:
            key = (p.side.name, end)
            if key not in known and key not in told:
                told.add(key)
                yield f"{p}: media at {end[0]}:{end[1]}, which nobody announced"


def altered(media):
    """What leaves Portolan to a peer is, octet by octet, what some peer sent."""
    entered = collections.Counter(p.payload for p in media if p.is_rtp and not p.own(p.source))
    left = collections.Counter(p.payload for p in media if p.is_rtp and p.own(p.source) and not p.own(p.target))
    invented = left - entered
    return [f"{sum(invented.values())} RTP packets left that never entered"] if invented else []


def unreachable(packets):
    # A terminal that has registered and does not listen yet may be asked whether it lives.
    asked = set()
    for p in packets:
        if p.payload.startswith(b"OPTIONS sip:") and p.icmp != "unreachable":
            asked.add(p.target)
        if p.icmp == "unreachable" and (p.source[0], p.target[1]) in asked:
            continue
        if p.protocol.farewell.search(p.payload):
            return
        if p.icmp == "unreachable":
            yield f"{p}: unreachable"


def silent(media, least):
    """Packets in and out at every port of Portolan that carried RTP."""
    if least is None:
        return
    legs = collections.defaultdict(lambda: [0, 0])
    for p in media:
        if p.is_rtp:
            for direction, end in enumerate(p.ends):
                if p.own(end):
                    legs[p.side.name, *end][direction] += 1
    if not any(side == "access" for side, *_ in legs):
        yield "no RTP at all on the access side"
    for (side, address, port), (out, into) in legs.items():
        if min(out, into) < least:
            yield f"{side} {address}:{port}: {into} RTP packets in, {out} out, wanted {least}"


if __name__ == "__main__":
    sys.exit(main())
