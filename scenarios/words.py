"""Words of others on a terminal: a client may call itself anything, so nothing of it may act as a control character."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, with what does not print spelled out."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
