"""The few bytes of DER that cryptography has no builder for (X.690, 8.1.3 and 10.1).

Rule: what comes in has been read by cryptography before, so it is well formed.
"""

from __future__ import annotations

SEQUENCE, BIT_STRING = 0x30, 0x03


def parts(sequence: bytes) -> list[bytes]:
    """Split a SEQUENCE into its elements, each with tag and length."""
    position, found = _header(sequence, 0)[0], []
    while position < len(sequence):
        start, size = _header(sequence, position)
        found.append(sequence[position : start + size])
        position = start + size
    return found


def value(tag: int, content: bytes) -> bytes:
    """Return a value with its tag and length."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def certificate(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Return a Certificate (RFC 5280, 4.1): what is signed, the AlgorithmIdentifier, the signature."""
    return value(SEQUENCE, tbs + algorithm + value(BIT_STRING, b"\x00" + signature))


def _header(data: bytes, position: int) -> tuple[int, int]:
    """Return where an element's content begins and how long it is."""
    first = data[position + 1]
    if first < 0x80:
        return position + 2, first
    start = position + 2 + (first & 0x7F)
    return start, int.from_bytes(data[position + 2 : start], "big")
