"""PKCS #11 URIs (RFC 7512): which token, which key in it, and where the PIN comes from.

Rules: the PIN is in no string this module makes, neither repr nor error. An attribute that would be ignored is refused,
because it is a typing mistake more often than not; IoT Edge (pkcs11/src/lib.rs in Azure/iot-identity-service) reads
token, slot-id, object and pin-value and ignores the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from certs import files
from certs.errors import CertsError

SCHEME = "pkcs11:"
_TEXTS = ("token", "serial", "manufacturer", "model", "object")  # path attributes that are words
_PATH = (*_TEXTS, "slot-id", "id", "type")
_QUERY = ("pin-value", "pin-source", "module-path")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class UriError(CertsError):
    """A text that is no URI of a key in a token. `attribute` is where it is wrong, None for the whole."""

    def __init__(self, attribute: str | None, why: str, hint: str) -> None:
        self.attribute = attribute
        super().__init__(f"PKCS #11 URI: {f'{attribute}: ' if attribute else ''}{why}", hint)


@dataclass(frozen=True)
class Uri:
    """A key in a token. What is None may be anything; `str` is the URI without its PIN."""

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    id: bytes | None = None
    pin_value: str | None = field(default=None, repr=False)
    pin_source: str | None = None
    module_path: str | None = None

    def __str__(self) -> str:
        path = {name: getattr(self, name) for name in _TEXTS} | {"slot-id": self.slot_id, "id": self.id}
        query = {"pin-source": self.pin_source, "module-path": self.module_path}
        return SCHEME + _joined(path, ";") + (f"?{_joined(query, '&')}" if any(query.values()) else "")

    def pin(self) -> str | None:
        """Return the PIN, None when the URI has none. Raises CertsError for a pin-source that cannot be read."""
        if self.pin_source is None:
            return self.pin_value
        return files.read(Path(self.pin_source.removeprefix("file:"))).decode(errors="replace").rstrip("\r\n")


def is_uri(text: str) -> bool:
    """Tell whether a text is meant as such a URI, and not as the name of a file."""
    return text.startswith(SCHEME)


def parse(text: str) -> Uri:
    """Read a URI; spaces need not be escaped, as in IoT Edge's documentation. Raises UriError."""
    if not is_uri(text):
        raise UriError(None, "it does not begin with pkcs11:", _EXAMPLE)
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    if found.pop("type", b"private") != b"private":
        raise UriError("type", "what signs is the private key", "write type=private, or leave it out")
    if not found.keys() & {"token", "serial", "slot-id"}:
        raise UriError(None, "it does not say which token", _EXAMPLE)
    if {"pin-value", "pin-source"} <= found.keys():
        raise UriError("pin-source", "there is a pin-value, too", "leave one of them out (RFC 7512, 2.4)")
    _check_source(_text(found, "pin-source"))
    return Uri(
        **{name: _text(found, name) for name in _TEXTS},
        slot_id=_number(_text(found, "slot-id")),
        id=found.get("id"),
        pin_value=_text(found, "pin-value"),
        pin_source=_text(found, "pin-source"),
        module_path=_text(found, "module-path"),
    )


_EXAMPLE = "as in pkcs11:token=edge;object=device-ca?pin-source=file:/etc/edge.pin"


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, text.split(separator)):
        name, _, value = part.partition("=")
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"
            # after the ? it may be the rest of a PIN that has an & in it
            raise UriError(name if separator == ";" else "?", "there is no such attribute here", hint)
        if name in found:
            raise UriError(name, "it is there twice", "write each attribute once (RFC 7512, 2.3)")
        if _BAD_ESCAPE.search(value):
            raise UriError(name, "a % that does not begin an escape", "write %25 for a percent sign")
        found[name] = unquote_to_bytes(value)
    return found


def _text(found: dict[str, bytes], name: str) -> str | None:
    try:
        return found[name].decode() if name in found else None
    except UnicodeDecodeError:
        raise UriError(name, "it is not UTF-8", "only id may be any bytes (RFC 7512, 2.3)") from None


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise UriError("slot-id", f"{text!r} is not a number", "`pkcs11-tool --list-slots` shows them")
    return int(text)


def _check_source(source: str | None) -> None:
    if source is not None and not re.match(r"(file:)?/", source):
        raise UriError("pin-source", "only an absolute path is read", "write pin-source=file:/etc/edge.pin")


def _joined(values: Mapping[str, object], separator: str) -> str:
    """Return the attributes that are there."""
    return separator.join(
        f"{name}={quote(value if isinstance(value, bytes) else str(value), safe='/:' if separator == '&' else ':')}"
        for name, value in values.items()
        if value is not None
    )
