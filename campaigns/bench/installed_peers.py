"""The peers' own packages, pinned, from npm and PyPI: beside the project, never in it. What is installed
stays there for the next run.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from campaigns.runner import BUILD

__all__ = ["INSTALLED", "PROGRAMS", "install"]

INSTALLED = BUILD.resolve() / "peers"
PROGRAMS = Path(__file__).with_name("peers")
NPM = ("@supabase/stripe-sync-engine@0.48.5", "stripe@22.3.0", "fastify@5.12.8")
PYPI = (
    "dj-stripe==2.11.0",
    "Django==5.2.19",
    "stripe==15.6.2",
    "gunicorn==27.0.1",
    "psycopg[binary]==3.3.9",
    "psycopg-pool==3.3.3",
    "flask==3.1.3",
)


def install(folder: Path) -> dict[str, str]:
    """Install the peers into `folder`; of each that cannot be, why."""
    folder.mkdir(parents=True, exist_ok=True)
    venv = folder / "venv"
    node = _failure_of(
        folder / "npm.json",
        NPM,
        ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *NPM),
    )
    python = _failure_of(
        folder / "pypi.json",
        PYPI,
        (sys.executable, "-m", "venv", "--clear", str(venv)),
        (str(venv / "bin/pip"), "-qq", "install", *PYPI),
    )
    missing = {"stripe-sync-engine": node, "dj-stripe": python, "flask": python}
    return {name: reason for name, reason in missing.items() if reason}


def _failure_of(stamp: Path, pinned: Sequence[str], *commands: Sequence[str]) -> str:
    """Run the commands unless the same packages are there already; why they failed, or nothing."""
    wanted = json.dumps(pinned)
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    for command in commands:
        if shutil.which(command[0]) is None:
            return f"{command[0]} is missing"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}"
    stamp.write_text(wanted)
    return ""
