#!/usr/bin/env python3
"""Melodies that name their singer, and the ear that recognises them.

audio.py sing  SEED SECONDS FILE.wav   writes a melody: one of eight tones every 200 ms, chosen by the seed
audio.py alaw  SEED SECONDS FILE.alaw  the same as raw G.711 A-law, for SIPp's rtp_stream
audio.py heard SEED FILE.wav           exit 0 if the recording carries that melody, and says how much of it
"""
import math
import random
import struct
import sys
import wave

RATE = 8000
NOTE = 1600
FRAME = 160
TONES = (440, 560, 680, 820, 980, 1160, 1360, 1600)
LEAST_SECONDS = 2.5
LEAST_AGREEMENT = 0.95
QUIET = 200.0


def main():
    verb, seed, *rest = sys.argv[1:]
    if verb == "heard":
        return heard(seed, rest[0])
    samples = sing(notes(seed, float(rest[0])))
    (write_wav if verb == "sing" else write_alaw)(rest[1], samples)
    return 0


def notes(seed, seconds):
    chance = random.Random(seed)
    return [chance.randrange(len(TONES)) for _ in range(int(seconds * RATE) // NOTE)]


def sing(melody):
    return [
        int(9000 * math.sin(2 * math.pi * TONES[note] * i / RATE)) for note in melody for i in range(NOTE)
    ]


def heard(seed, path):
    """Compares frame by frame with the melody, at the shift where they agree best."""
    wanted = [note for note in notes(seed, 120) for _ in range(NOTE // FRAME)]
    frames = [tone(frame) for frame in cut(read_wav(path))]
    sounding = [(i, t) for i, t in enumerate(frames) if t is not None]
    seconds = len(sounding) * FRAME / RATE
    best = max((agreement(sounding, wanted, shift) for shift in range(-len(frames), 1500)), default=0.0)
    print(f"{path}: {seconds:.1f} s of sound, {best:.0%} of it is the melody of {seed}")
    return 0 if seconds >= LEAST_SECONDS and best >= LEAST_AGREEMENT else 1


def agreement(sounding, wanted, shift):
    """Share of the sounding frames that carry the wanted tone; a frame on the edge of two notes may carry either."""
    if not sounding:
        return 0.0
    hits = 0
    for i, t in sounding:
        at = i + shift
        if 0 < at < len(wanted) - 1 and t in (wanted[at - 1], wanted[at], wanted[at + 1]):
            hits += 1
    return hits / len(sounding)


def cut(samples):
    return [samples[i : i + FRAME] for i in range(0, len(samples) - FRAME + 1, FRAME)]


def tone(frame):
    """The loudest of the tones (Goertzel), or None for silence."""
    if math.sqrt(sum(s * s for s in frame) / len(frame)) < QUIET:
        return None
    powers = [goertzel(frame, f) for f in TONES]
    return powers.index(max(powers))


def goertzel(frame, frequency):
    turn = 2 * math.cos(2 * math.pi * frequency / RATE)
    one = two = 0.0
    for sample in frame:
        one, two = sample + turn * one - two, one
    return one * one + two * two - turn * one * two


def read_wav(path):
    with wave.open(path) as f:
        if (f.getframerate(), f.getsampwidth(), f.getnchannels()) != (RATE, 2, 1):
            raise SystemExit(f"{path}: not {RATE} Hz, 16 bit, mono")
        # A recorder that was stopped may leave a wrong length in the header: take what is whole.
        data = f.readframes(f.getnframes())
    return struct.unpack(f"<{len(data) // 2}h", data[: len(data) // 2 * 2])


def write_wav(path, samples):
    with wave.open(path, "wb") as f:
        f.setparams((1, 2, RATE, 0, "NONE", ""))
        f.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def write_alaw(path, samples):
    with open(path, "wb") as f:
        f.write(bytes(alaw(s) for s in samples))


def alaw(sample):
    """One sample in G.711 A-law (ITU-T G.711, table 1a)."""
    sign, value = (0x80, sample >> 3) if sample >= 0 else (0x00, (-sample - 1) >> 3)
    segment = max(0, value.bit_length() - 5)
    mantissa = (value >> max(1, segment)) & 0x0F
    return (sign | segment << 4 | mantissa) ^ 0x55


if __name__ == "__main__":
    sys.exit(main())
