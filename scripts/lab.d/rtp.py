#!/usr/bin/env python3
"""A voice: RTP with a melody of its own, G.711 A-law in packets of 20 ms, and the ear for another one's.

rtp.py NAME PARTNER LOCAL:PORT REMOTE:PORT SECONDS    sings as NAME from LOCAL to REMOTE, and prints a line of JSON:
    packets sent, packets received, and of these the ones that are, octet for octet, PARTNER's melody in its place
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
LONGEST = 30


class Voice(threading.Thread):
    """One end of a conversation. It has its ports from the beginning, and sings from `start` on."""

    def __init__(self, name, partner, local, port=0):
        super().__init__(daemon=True)
        self.singer, self.source = name, zlib.crc32(name.encode())
        self.sings, self.hears = melody(name), melody(partner)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((local, port))
        self.socket.settimeout(0.1)
        self.address = self.socket.getsockname()
        self.sent = self.received = self.heard = 0

    def description(self):
        """What it wants to be told in SDP."""
        address, port = self.address
        lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:20"]
        return "".join(f"{line}\r\n" for line in lines)

    def sing_to(self, remote, seconds):
        self.remote, self.until = remote, time.monotonic() + seconds
        self.start()
        threading.Thread(target=self.listen, daemon=True).start()

    def run(self):
        begun = time.monotonic()
        for number, payload in enumerate(self.sings):
            wait = begun + number * PACKET_TIME - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            if time.monotonic() >= self.until:
                return
            # A partner that does not listen yet is no reason to stop.
            try:
                header = struct.pack("!BBHII", 0x80, 8, number, number * OCTETS, self.source)
                self.socket.sendto(header + payload, self.remote)
                self.sent += 1
            except OSError:
                pass

    def listen(self):
        while time.monotonic() < self.until + 0.5:
            try:
                packet = self.socket.recv(2048)
            except OSError:
                continue
            if len(packet) != 12 + OCTETS or packet[0] >> 6 != 2:
                continue
            self.received += 1
            number = struct.unpack("!H", packet[2:4])[0]
            self.heard += number < len(self.hears) and packet[12:] == self.hears[number]

    def figures(self):
        return {"voice": self.singer, "sent": self.sent, "received": self.received, "heard": self.heard}


def melody(name):
    """The packets of a singer."""
    octets = bytes(audio.alaw(sample) for sample in audio.sing(audio.notes(name, LONGEST)))
    return [octets[i : i + OCTETS] for i in range(0, len(octets), OCTETS)]


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def main():
    name, partner, local, remote, seconds = sys.argv[1:]
    voice = Voice(name, partner, *address(local))
    voice.sing_to(address(remote), float(seconds))
    time.sleep(float(seconds) + 0.7)
    print(json.dumps(voice.figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
