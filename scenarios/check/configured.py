"""From a gateway's config.toml or config.yaml to what checks look at."""

from __future__ import annotations

from pathlib import Path

from scenarios.check.subject import Configured


def configured_in(path: Path, root: Path | None = None) -> Configured:
    """Read a configuration; files in it are looked up below `root`, for the disk of another machine."""
    raise NotImplementedError
