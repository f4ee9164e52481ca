#!/usr/bin/env python3
"""Holds Portolan's counters against what tshark counts.

exact.py spray SOURCE ADDRESS PORT...                 40 datagrams of a stranger to each port
exact.py UNCLAIMED SESSIONS.json ACCESS.pcapng CORE.pcapng

For each ended session that the captures have packets of, each stream and each side:

1. what left by the other side's ports is what was forwarded: packets, RTP payload octets, octets from the IP header on;
2. what arrived at the side's ports is what was forwarded and what was dropped: packets and octets of UDP payload.

UNCLAIMED packets, and no more, may have arrived that no session counted: those that came after its end.
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
FIELDS = "ip.src ip.dst ip.len udp.srcport udp.dstport udp.payload".split()
# Packets, octets of UDP payload, octets of RTP payload, octets from the IP header on.
Sum = collections.namedtuple("Sum", "packets udp payload ip")


def main():
    if sys.argv[1] == "spray":
        return spray(sys.argv[2], sys.argv[3], map(int, sys.argv[4:]))
    unclaimed, sessions, access, core = sys.argv[1:]
    wire = {"access": count(access, OWN["access"]), "core": count(core, OWN["core"])}
    with open(sessions) as f:
        streams = [stream for session in json.load(f)["ended"] for stream in session["streams"]]
    streams = [s for s in streams if any(at(wire, side, s, "in", kind).packets for side in OWN for kind in (0, 1))]
    offences, left = [], 0
    for stream in streams:
        for side, other in (("access", "core"), ("core", "access")):
            wrong, late = judge(wire, stream, side, other)
            offences += wrong
            left += late
    if left != int(unclaimed):
        offences.append(f"{left} packets arrived that no session counted, {unclaimed} after a session's end")
    offences += silent(streams)
    packets = sum(s[side]["rtp_packets"] + s[side]["rtcp_packets"] + s[side]["dropped"] for s in streams for side in OWN)
    print(f"{len(streams)} streams, {packets} packets: {len(offences)} offences")
    for offence in offences:
        print(f"  {offence}")
    return 1 if offences else 0


def judge(wire, stream, side, other):
    """Offences, and packets that arrived and were not counted."""
    told, offences = stream[side], []
    out = [at(wire, other, stream, "out", kind) for kind in (0, 1)]
    come = [at(wire, side, stream, "in", kind) for kind in (0, 1)]
    for what, is_told, is_seen in (
        ("RTP packets", told["rtp_packets"], out[0].packets),
        ("RTP payload octets", told["rtp_payload_octets"], out[0].payload),
        ("RTP IP octets", told["rtp_ip_octets"], out[0].ip),
        ("RTCP packets", told["rtcp_packets"], out[1].packets),
        ("RTCP octets", told["rtcp_octets"], out[1].udp),
        ("RTCP IP octets", told["rtcp_ip_octets"], out[1].ip),
        ("drops by reason", told["dropped"], sum(told["drops"].values())),
    ):
        if is_told != is_seen:
            offences.append(f"{side} {told['ports']}: {what}: told {is_told}, seen {is_seen}")
    late = come[0].packets + come[1].packets - out[0].packets - out[1].packets - told["dropped"]
    octets = come[0].udp + come[1].udp - out[0].udp - out[1].udp - told["dropped_octets"]
    if late < 0 or late == 0 and octets != 0:
        offences.append(f"{side} {told['ports']}: {-late} more counted than arrived, {octets} octets")
    return offences, late


def silent(streams):
    """The call must have had something to count."""
    if len(streams) < 2:
        return [f"only {len(streams)} streams"]
    wanted = ("rtp_packets", "rtcp_packets", "dropped")
    return [f"{side}: no {what}" for s in streams for side in OWN for what in wanted if not s[side][what]]


def at(wire, side, stream, way, kind):
    return wire[side].get((way, stream[side]["ports"][kind]), Sum(0, 0, 0, 0))


def count(path, own):
    """Sums by way and own port."""
    fields = [part for field in FIELDS for part in ("-e", field)]
    command = ["tshark", "-r", path, "-Y", "udp and not icmp", "-T", "fields", *fields]
    sums = {}
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        source, target, length, sport, dport, payload = line.split("\t")
        payload = bytes.fromhex(payload)
        for way, address, port in (("in", target, dport), ("out", source, sport)):
            if address == own:
                old = sums.get((way, int(port)), Sum(0, 0, 0, 0))
                new = (1, len(payload), rtp_payload(payload), int(length))
                sums[way, int(port)] = Sum(*map(sum, zip(old, new)))
    return sums


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
