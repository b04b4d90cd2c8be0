"""What a leaf can find out about a gateway: what is wrong, how one can see it, what to do, and who is affected.

    report = diagnose("gw.factory.test:8883", trust=Path("root.pem"))
    report.verdict, report.headline

Nothing on the other side is changed, and no private key is needed: it works against a real gateway. Names are imported
on first use: the command line answers `--help` before cryptography is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leafsim.diagnose.examine import diagnose as diagnose
    from leafsim.diagnose.examine import diagnose_files as diagnose_files
    from leafsim.diagnose.report import Finding as Finding
    from leafsim.diagnose.report import Report as Report
    from leafsim.diagnose.report import StackAnswer as StackAnswer

_HOMES = {
    "diagnose": "examine",
    "diagnose_files": "examine",
    "Finding": "report",
    "Report": "report",
    "StackAnswer": "report",
}

__all__ = ["Finding", "Report", "StackAnswer", "diagnose", "diagnose_files"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'leafsim.diagnose' has no attribute {name!r}")
    return getattr(importlib.import_module(f"leafsim.diagnose.{_HOMES[name]}"), name)
