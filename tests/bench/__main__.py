"""`python -m tests.bench`: measures the promises about speed and memory and prints them beside a peer's figures.

It measures and does not judge: the exit code is 0 unless the bench itself fails. docs/bench.md says what is compared.
"""

import argparse
import json
import os
import platform
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.load import LoadError
from tests.bench.rows import NEED_MOSQUITTO, ROWS, Scale
from tests.bench.servers import Mosquitto

_LINE = "{:<14}{:>10}{:>10}  {:<8}{:>7}{:>9}   {}"


def main():
    """Measure the rows asked for."""
    options = _options()
    scale = Scale(repeats=options.repeats)
    if options.quick:
        scale = Scale(
            repeats=min(options.repeats, 3), connections=60, messages=4_000, idle=100, backlog=5_000, stored=20_000
        )
    names = _possible(options.rows)
    _say(_environment(scale))
    _say(_LINE.format("row", "leafgate", "peer", "unit", "ratio", "target", ""))
    results = []
    try:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="leafgate-bench-") as folder:
                results.append(ROWS[name](scale, Path(folder)))
            _say(_line(results[-1]))
    except (LoadError, OSError, subprocess.SubprocessError) as failure:
        sys.stderr.write(f"bench: {failure}\n")
        return 1
    if options.json:
        facts = {"version": 1, "environment": _environment(scale), "results": [each.json() for each in results]}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


def _options():
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--repeats", type=int, default=7, help="pairs per row; the median is printed [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="small and inexact: only to see whether it runs")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    options = parser.parse_args()
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if options.repeats < 1:
        parser.error("at least one repeat")
    return options


def _possible(names):
    if Mosquitto.program() is not None:
        return names
    left_out = [name for name in names if name in NEED_MOSQUITTO]
    if left_out:
        sys.stderr.write(
            f"bench: mosquitto is not installed (apt-get install mosquitto); without {', '.join(left_out)}\n"
        )
    return [name for name in names if name not in NEED_MOSQUITTO]


def _line(result):
    limit = (
        f"{result.target:g}" if result.ratio is None or not result.absolute else f"{result.target:g} {result.unit[:3]}"
    )
    peer = "" if result.peer is None else f"{result.peer:.2f}"
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    verdict = "ok" if result.met else "MISSED"
    return _LINE.format(result.name, f"{result.value:.2f}", peer, result.unit, ratio, f"<= {limit}", verdict)


def _environment(scale):
    program = Mosquitto.program()
    peer = "no mosquitto"
    if program:
        text = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
        peer = text.partition("\n")[0].replace(" version", "")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{scale.repeats} repeats; Python {platform.python_version()}, {ssl.OPENSSL_VERSION.rpartition(' 2')[0][:14]}"
        f" (load), {peer}, {os.cpu_count()} CPUs, load average {load}"
    )


def _say(line):
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
