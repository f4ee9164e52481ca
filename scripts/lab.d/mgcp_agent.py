#!/usr/bin/env python3
"""A call agent of MGCP (RFC 3435), as far as the lab needs one.

mgcp_agent.py LOCAL GATEWAYS SECONDS [COMMANDS_TO]

Waits at LOCAL:2727 until so many gateways have said that they restart (RSIP), makes one call and takes it down again. One
gateway: both connections of one of its endpoints lead to a voice beside the agent. Two gateways: one connection of each
leads to a voice, the others to each other. Commands go to where the restart came from, or all of them to COMMANDS_TO.
Prints a line of JSON: the gateways' names, messages by kind, figures of both voices, the connection parameters at the end.
Exit 0 if all commands were answered by 200 or 250 and both voices heard at least nine tenths of the other's song.
"""
import collections
import json
import random
import re
import socket
import sys
import threading
import time

import rtp

REPEAT = 0.5
TRIES = 12
SONG_SHARE = 0.9
WAIT_FOR_GATEWAYS = 30


class Failed(Exception):
    """A command without a good answer."""


class Agent(threading.Thread):
    """The socket: answers what gateways say, and matches answers with commands."""

    def __init__(self, local, commands_to):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((local, 2727))
        self.local, self.commands_to = local, commands_to
        self.number = random.randrange(1, 900_000_000)
        self.gateways, self.answers = {}, {}
        self.counts = collections.Counter()
        self.change = threading.Condition()
        self.start()

    def run(self):
        while True:
            datagram, source = self.socket.recvfrom(65535)
            text = datagram.decode()
            first = text.split()
            with self.change:
                if first[0].isdigit():
                    self.counts["answers"] += 1
                    self.answers[int(first[1])] = text
                else:
                    self.counts[first[0]] += 1
                    self.gateways[first[2].split("@")[1].lower()] = source
                    self.socket.sendto(f"200 {first[1]} OK\r\n".encode(), source)
                self.change.notify_all()

    def restarted(self, count):
        """The names of so many gateways, when they have said that they are there."""
        with self.change:
            self.change.wait_for(lambda: len(self.gateways) >= count, WAIT_FOR_GATEWAYS)
            return sorted(self.gateways)

    def ask(self, verb, endpoint, *parameters, sdp=""):
        """A command, repeated until it is answered. What was answered."""
        self.number += 1
        domain = endpoint.split("@")[1]
        to = self.commands_to or self.gateways[domain.lower()]
        lines = [f"{verb} {self.number} {endpoint} MGCP 1.0", *parameters]
        message = "".join(f"{line}\r\n" for line in lines) + (f"\r\n{sdp}" if sdp else "")
        with self.change:
            for _ in range(TRIES):
                self.counts[f"{verb} sent"] += 1
                self.socket.sendto(message.encode(), to)
                if self.change.wait_for(lambda: self.number in self.answers, REPEAT):
                    return Answer(verb, domain, self.answers[self.number])
        raise Failed(f"{verb} {endpoint}: no answer")


class Answer:
    """What a gateway said to a command."""

    def __init__(self, verb, domain, text):
        head, _, self.sdp = text.replace("\r\n", "\n").partition("\n\n")
        code, *lines = head.split("\n")
        if code[:3] not in ("200", "250"):
            raise Failed(f"{verb}: {code}")
        self.parameters = {key.upper(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        named = self.parameters.get("Z")
        if named and named.split("@")[1].lower() != domain.lower():
            raise Failed(f"{verb}: {named} is not at {domain}")

    def media(self):
        host = re.search(r"^c=IN IP4 (\S+)", self.sdp, re.M)[1]
        return host, int(re.search(r"^m=audio (\d+)", self.sdp, re.M)[1])


class Connection:
    """One connection of an endpoint."""

    def __init__(self, agent, endpoint, call, sdp=""):
        self.agent, self.call = agent, call
        mode = "sendrecv" if sdp else "recvonly"
        answer = agent.ask("CRCX", endpoint, f"C: {call}", "L: p:20, a:PCMA", f"M: {mode}", sdp=sdp)
        self.endpoint = answer.parameters.get("Z", endpoint)
        self.ident, self.answer = answer.parameters["I"], answer

    def turn(self, sdp):
        """Tell it the other end."""
        self.agent.ask("MDCX", self.endpoint, f"C: {self.call}", f"I: {self.ident}", "M: sendrecv", sdp=sdp)

    def end(self):
        """What it counted."""
        answer = self.agent.ask("DLCX", self.endpoint, f"C: {self.call}", f"I: {self.ident}")
        return answer.parameters.get("P", "")


def call(agent, names, voices, seconds):
    """One call; the connection parameters that the gateways report at its end."""
    first, last = f"rtpbridge/*@{names[0]}", f"rtpbridge/*@{names[-1]}"
    number = f"{random.getrandbits(60):x}"
    left = Connection(agent, first, number)
    left.turn(voices[0].description())
    if len(names) == 1:
        right = Connection(agent, left.endpoint, number, voices[1].description())
        connections = [left, right]
    else:
        right = Connection(agent, last, number, voices[1].description())
        out = Connection(agent, left.endpoint, number)
        back = Connection(agent, right.endpoint, number, out.answer.sdp)
        out.turn(back.answer.sdp)
        connections = [left, right, out, back]
    for voice, connection in zip(voices, (left, right)):
        voice.sing_to(connection.answer.media())
    agent.ask("AUEP", left.endpoint)
    time.sleep(seconds + 0.6)
    return [connection.end() for connection in connections]


def main():
    local, count, seconds, *rest = sys.argv[1:]
    agent = Agent(local, rtp.address(rest[0]) if rest else None)
    pair = ("left", "right")
    voices = [rtp.Voice(*names, float(seconds), local) for names in (pair, pair[::-1])]
    verdict = {"gateways": agent.restarted(int(count))}
    try:
        if len(verdict["gateways"]) != int(count):
            raise Failed("not all gateways are there")
        verdict["parameters"] = call(agent, verdict["gateways"], voices, float(seconds))
        verdict["answered"] = True
    except Failed as failed:
        verdict["failed"] = str(failed)
    figures = [voice.figures() for voice in voices]
    print(json.dumps({**verdict, "messages": agent.counts, "voices": figures}))
    least = SONG_SHARE * float(seconds) / rtp.PACKET_TIME
    return 0 if "answered" in verdict and min(one["heard"] for one in figures) >= least else 1


if __name__ == "__main__":
    sys.exit(main())
