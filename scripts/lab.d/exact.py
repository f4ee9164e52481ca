#!/usr/bin/env python3
"""Holds Portolan's counters against what tshark counts.

exact.py spray SOURCE ADDRESS PORT...                 40 datagrams of a stranger to each port
exact.py ASKED SESSIONS.json ACCESS.pcapng CORE.pcapng

For each ended session that the captures have packets of, each stream and each side:

1. what left by the other side's ports is what was forwarded: packets, RTP payload octets, octets from the IP header on;
2. what arrived at the side's ports is what was forwarded and what was dropped: packets and octets of UDP payload.

The last packets at a port may be in no counter when they came after the session's end, which is told as seconds before
the sessions were ASKED for (seconds since 1970), give or take a tenth.
Exit 0 if all is equal, and there were two sessions with RTP, RTCP and drops on both sides.
"""
import collections
import json
import socket
import struct
import subprocess
import sys
import time

OWN = {"access": "198.51.100.10", "core": "10.0.0.10"}
FIELDS = "frame.time_epoch ip.src ip.dst ip.len udp.srcport udp.dstport udp.payload".split()
# How well the end of a session is known, in seconds.
SLACK = 0.1
# Octets of UDP payload, of RTP payload, from the IP header on.
Packet = collections.namedtuple("Packet", "time udp payload ip")
Sum = collections.namedtuple("Sum", "packets udp payload ip")


def main():
    if sys.argv[1] == "spray":
        return spray(sys.argv[2], sys.argv[3], map(int, sys.argv[4:]))
    asked, sessions, access, core = sys.argv[1:]
    wire = {"access": read(access, OWN["access"]), "core": read(core, OWN["core"])}
    with open(sessions) as f:
        ended = [(float(asked) - s["ended_seconds_ago"], stream) for s in json.load(f)["ended"] for stream in s["streams"]]
    ended = [(end, s) for end, s in ended if any(at(wire, side, s, "in", kind) for side in OWN for kind in (0, 1))]
    streams = [stream for _, stream in ended]
    offences, late = silent(streams), 0
    for end, stream in ended:
        for side, other in (("access", "core"), ("core", "access")):
            wrong, after = judge(wire, end, stream, side, other)
            offences += wrong
            late += after
    packets = sum(s[side]["rtp_packets"] + s[side]["rtcp_packets"] + s[side]["dropped"] for s in streams for side in OWN)
    print(f"{len(streams)} streams, {packets} packets, {late} after the end: {len(offences)} offences")
    for offence in offences:
        print(f"  {offence}")
    return 1 if offences else 0


def judge(wire, end, stream, side, other):
    """Offences, and how many packets arrived after the end."""
    told, offences = stream[side], []
    out = [total(at(wire, other, stream, "out", kind)) for kind in (0, 1)]
    come = sorted(at(wire, side, stream, "in", 0) + at(wire, side, stream, "in", 1))
    late = len(come) - told["rtp_packets"] - told["rtcp_packets"] - told["dropped"]
    counted = total(come[: len(come) - max(late, 0)])
    for what, is_told, is_seen in (
        ("RTP packets", told["rtp_packets"], out[0].packets),
        ("RTP payload octets", told["rtp_payload_octets"], out[0].payload),
        ("RTP IP octets", told["rtp_ip_octets"], out[0].ip),
        ("RTCP packets", told["rtcp_packets"], out[1].packets),
        ("RTCP octets", told["rtcp_octets"], out[1].udp),
        ("RTCP IP octets", told["rtcp_ip_octets"], out[1].ip),
        ("drops by reason", told["dropped"], sum(told["drops"].values())),
        ("packets dropped", told["dropped"], counted.packets - out[0].packets - out[1].packets),
        ("octets dropped", told["dropped_octets"], counted.udp - out[0].udp - out[1].udp),
    ):
        if is_told != is_seen:
            offences.append(f"{side} {told['ports']}: {what}: told {is_told}, seen {is_seen}")
    if late > 0 and come[-late].time < end - SLACK:
        offences.append(f"{side} {told['ports']}: {late} packets not counted, {end - come[-late].time:.3f} s before the end")
    return offences, late


def silent(streams):
    """The call must have had something to count."""
    if len(streams) < 2:
        return [f"only {len(streams)} streams"]
    wanted = ("rtp_packets", "dropped")
    missing = [f"{side}: no {what}" for s in streams for side in OWN for what in wanted if not s[side][what]]
    # Reports are rare and their times are drawn: in a short call one end may send none.
    if not any(s[side]["rtcp_packets"] for s in streams for side in OWN):
        missing.append("no RTCP")
    return missing


def at(wire, side, stream, way, kind):
    return wire[side].get((way, stream[side]["ports"][kind]), [])


def total(packets):
    return Sum(len(packets), *(sum(p[n] for p in packets) for n in (1, 2, 3)))


def read(path, own):
    """Packets by way and own port."""
    fields = [part for field in FIELDS for part in ("-e", field)]
    command = ["tshark", "-r", path, "-Y", "udp and not icmp", "-T", "fields", *fields]
    packets = collections.defaultdict(list)
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        moment, source, target, length, sport, dport, payload = line.split("\t")
        payload = bytes.fromhex(payload)
        packet = Packet(float(moment), len(payload), rtp_payload(payload), int(length))
        for way, address, port in (("in", target, dport), ("out", source, sport)):
            if address == own:
                packets[way, int(port)].append(packet)
    return packets


def rtp_payload(packet):
    """Octets behind the header, its list of sources and its extension, without padding (RFC 3550 section 5.1)."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return 0
    start = 12 + (packet[0] & 15) * 4
    if packet[0] & 0x10:
        start += 4 + struct.unpack("!H", packet[start + 2 : start + 4])[0] * 4
    return len(packet) - start - (packet[-1] if packet[0] & 0x20 else 0)


def spray(source, address, ports):
    """Ten rounds of RTP of PCMA, a receiver report, nonsense, and an empty RTP packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((source, 0))
        for port in ports:
            for n in range(10):
                head = struct.pack("!BBHII", 0x80, 8, n, n * 160, 0xBAD)
                for packet in (head + bytes(160), struct.pack("!BBHI", 0x80, 201, 1, 0xBAD), b"nonsense", head):
                    stranger.sendto(packet, (address, port))
                    time.sleep(0.001)
    return 0


if __name__ == "__main__":
    sys.exit(main())
