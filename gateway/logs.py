"""Log lines as Edge Hub writes them, or as JSON.

Format of Logger.cs in Azure/iotedge: `<N> yyyy-MM-dd HH:mm:ss.fff +00:00 [INF] - text`, N being the syslog severity.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

_SEVERITY = {
    logging.DEBUG: (7, "DBG"),
    logging.INFO: (6, "INF"),
    logging.WARNING: (4, "WRN"),
    logging.ERROR: (3, "ERR"),
    logging.CRITICAL: (0, "FTL"),
}

_SECRET = re.compile(r"\b(sig|SharedAccessKey)=[^&;\s']+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class EdgeHubFormatter(logging.Formatter):
    """One line per record in the product's own format; debug adds the source as the product does."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        number, tag = _SEVERITY.get(record.levelno, (6, "INF"))
        source = f" [{record.name}]" if record.levelno <= logging.DEBUG else ""
        return f"<{number}> {_stamp(record)} +00:00 [{tag}]{source} - {_text(self, record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, source, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        _, tag = _SEVERITY.get(record.levelno, (6, "INF"))
        return json.dumps(
            {
                "time": _stamp(record).replace(" ", "T") + "Z",
                "level": tag,
                "source": record.name,
                "message": _text(self, record),
            }
        )


def log_to(stream: TextIO | None = None, *, as_json: bool = False, level: int = logging.INFO) -> logging.Handler:
    """Send the log of every gateway of this process to `stream` (stderr by default); returns the handler to remove."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else EdgeHubFormatter())
    logger = logging.getLogger("leafgate")
    logger.addHandler(handler)
    logger.setLevel(level)
    return handler


def private_logger() -> logging.Logger:
    """A logger for one gateway: not out of logging's own table, which would keep one entry per gateway for ever."""
    log = logging.Logger("leafgate.gateway")
    log.parent = logging.getLogger("leafgate")
    return log


def without_secrets(text: str) -> str:
    """What a client said, without a signature or key that it put into the wrong field."""
    return _SECRET.sub(r"\1=***", text)


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    # A line break inside a client's own words must not look like another record, nor may they move a terminal's cursor.
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], record.getMessage())
    return f"{text}\n{formatter.formatException(record.exc_info)}" if record.exc_info else text
