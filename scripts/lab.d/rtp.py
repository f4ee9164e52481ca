#!/usr/bin/env python3
"""A voice: RTP with a melody of its own, G.711 A-law in packets of 20 ms, and the ear for another one's.

rtp.py NAME PARTNER LOCAL:PORT SECONDS    says "ready", reads REMOTE:PORT, sings as NAME to there and prints a line of JSON:
    packets sent, packets received, of these the ones that are, octet for octet, PARTNER's melody in its place, and how
    many are missing between the first and the last of them
"""
import json
import socket
import struct
import sys
import threading
import time
import zlib

import audio

PACKET_TIME = 0.02
OCTETS = 160


class Voice(threading.Thread):
    """One end of a conversation: it has its port from the beginning, and sings for so long when it knows the other end."""

    def __init__(self, name, partner, seconds, local, port=0):
        super().__init__(daemon=True)
        self.singer, self.source = name, zlib.crc32(name.encode())
        self.seconds, self.sings, self.hears = seconds, melody(name, seconds), melody(partner, seconds)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((local, port))
        self.socket.settimeout(0.1)
        self.address = self.socket.getsockname()
        self.sent = self.received = 0
        self.heard = set()

    def description(self):
        """What it wants to be told in SDP."""
        address, port = self.address
        lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:20"]
        return "".join(f"{line}\r\n" for line in lines)

    def sing_to(self, remote):
        self.remote, self.until = remote, time.monotonic() + self.seconds + 0.5
        self.start()
        threading.Thread(target=self.listen, daemon=True).start()

    def run(self):
        begun = time.monotonic()
        for number, payload in enumerate(self.sings):
            wait = begun + number * PACKET_TIME - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            # A partner that does not listen yet is no reason to stop.
            try:
                header = struct.pack("!BBHII", 0x80, 8, number, number * OCTETS, self.source)
                self.socket.sendto(header + payload, self.remote)
                self.sent += 1
            except OSError:
                pass

    def listen(self):
        while time.monotonic() < self.until:
            try:
                packet = self.socket.recv(2048)
            except OSError:
                continue
            if len(packet) != 12 + OCTETS or packet[0] >> 6 != 2:
                continue
            self.received += 1
            number = struct.unpack("!H", packet[2:4])[0]
            if number < len(self.hears) and packet[12:] == self.hears[number]:
                self.heard.add(number)

    def figures(self):
        missed = max(self.heard) - min(self.heard) + 1 - len(self.heard) if self.heard else 0
        return {"voice": self.singer, "sent": self.sent, "received": self.received, "heard": len(self.heard), "missed": missed}


def melody(name, seconds):
    """The packets of a singer."""
    octets = bytes(audio.alaw(sample) for sample in audio.sing(audio.notes(name, seconds)))
    return [octets[i : i + OCTETS] for i in range(0, len(octets), OCTETS)]


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def main():
    name, partner, local, seconds = sys.argv[1:]
    voice = Voice(name, partner, float(seconds), *address(local))
    print("ready", flush=True)
    remote = sys.stdin.readline().strip()
    if not remote:
        return 1
    voice.sing_to(address(remote))
    time.sleep(float(seconds) + 0.7)
    print(json.dumps(voice.figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
