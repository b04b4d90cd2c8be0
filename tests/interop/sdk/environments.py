"""The SDKs' own environments: a virtual environment and a node_modules folder, made once and kept in a cache.

Rule: a folder without its stamp is not an environment. Whoever makes one holds its lock, so that two runs at once make
it once, and what an interrupted run left behind is made anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

#: azure-iot-device 2.14.0 takes any paho-mqtt below 2, and paho's words are part of what is tested
PYTHON_PINS = ("azure-iot-device==2.14.0", "paho-mqtt==1.6.1")
#: the transport's base and its MQTT client, whose words are tested too, are pinned wherever they are needed
NODE_PINS = {"azure-iot-device": "1.18.4", "azure-iot-device-mqtt": "1.16.4"}
NODE_OVERRIDES = {"azure-iot-common": "1.13.3", "azure-iot-mqtt-base": "1.13.3", "mqtt": "4.3.8"}
STAMP = "complete"
INSTALL_TIMEOUT = 600


def cache():
    """Where environments are kept: outside the repository, so that it stays clean."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "leafgate" / "interop"


def python_environment(root=None):
    """The interpreter of a virtual environment with the Python SDK."""
    pins = (*PYTHON_PINS, sys.version, sys.executable)
    folder = made(root or cache(), "python", pins, lambda folder: _install_python(folder, PYTHON_PINS))
    return folder / "bin" / "python"


def node_environment(root=None):
    """A node_modules folder with the Node.js SDK."""
    pins = (json.dumps(NODE_PINS), json.dumps(NODE_OVERRIDES))
    return made(root or cache(), "node", pins, _install_node) / "node_modules"


def missing_programs():
    """Why there can be no Node.js SDK on this machine; None when there can."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def made(root, kind, pins, install):
    """The folder of that kind for these pins; `install(folder)` fills it unless it is there and complete."""
    name = f"{kind}-{hashlib.sha256(chr(10).join(pins).encode()).hexdigest()[:16]}"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    with _locked(root / f"{name}.lock"):
        if not (folder / STAMP).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            (folder / STAMP).touch()
    return folder


@contextmanager
def _locked(path):
    """Hold a lock that the system takes back when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install_python(folder, pins):
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)


def _install_node(folder):
    wanted = {"private": True, "dependencies": NODE_PINS, "overrides": NODE_OVERRIDES}
    (folder / "package.json").write_text(json.dumps(wanted))
    # Scripts stay off: nothing that the SDK needs has one.
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
    run("npm", "install", *quiet, "--prefix", folder)


def run(*command):
    """Run a program to its end; RuntimeError with what it said when it fails."""
    words = [str(word) for word in command]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{ended.stdout}\n{ended.stderr}")
