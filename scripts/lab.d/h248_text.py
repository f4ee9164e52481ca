#!/usr/bin/env python3
"""Binary H.248 as text, by pycrate's own decoder (ITU's ASN.1 in BER): tshark takes descriptions in it for malformed.

Reads messages, a line of hexadecimal each; writes a line for each: the text in hexadecimal, or "malformed: ..." as it is.
Addresses are written as text does; the properties of a description are lines of SDP.
"""
import sys

from pycrate_asn1dir import H248

MESSAGE = H248.MEDIA_GATEWAY_CONTROL.MegacoMessage
# H.248.1 Annex C.11, from 0xB001 on.
SDP = dict(enumerate("vosiuepcbzkatrm", 0xB001))
IA5_STRING = 0x16


def main():
    for line in sys.stdin:
        try:
            message = bytes.fromhex(line)
            MESSAGE.from_ber(message)
            print("\r\n".join(written(MESSAGE.get_val())).encode().hex())
        except Exception as fault:  # whatever pycrate raises means that it cannot read it
            print(f"malformed: {type(fault).__name__} {fault}".replace("\n", " "))
    return 0


def written(value):
    """The lines of a value."""
    if isinstance(value, dict):
        if set(value) >= {"name", "value"} and int.from_bytes(value["name"], "big") in SDP:
            letter = SDP[int.from_bytes(value["name"], "big")]
            yield from (f"{letter}={text(bare(one))}" for one in value["value"])
            return
        for name, inner in value.items():
            yield name
            yield from written(inner)
    elif isinstance(value, tuple) and len(value) == 2 and value[0] in ("ip4Address", "ip6Address"):
        yield address(value[1])
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from written(inner)
    else:
        yield text(value)


def address(value):
    """As the text encoding writes it (H.248.1 Annex B.2)."""
    octets = value["address"]
    host = ".".join(map(str, octets)) if len(octets) == 4 else octets.hex(":", 2)
    return f"[{host}]:{value.get('portNumber', '')}"


def bare(octets):
    """What a property holds: text, or text in a BER IA5String."""
    return octets[2:] if len(octets) > 2 and octets[0] == IA5_STRING and octets[1] == len(octets) - 2 else octets


def text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    sys.exit(main())
