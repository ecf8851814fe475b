"""Runs the package Makefiles of this repository against the stand-in for OpenWrt's build system."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.ipk.package import Package, PackageError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BUILDROOT: Final = Path(__file__).with_name("buildroot")
FOLDERS: Final = ("daemon", "python3-stripe", "python3-ubus-py", "luci-app-stripe-payments")

_UMASK: Final = 0o022


def run_makefiles(out: Path, pypi: Path, folders: tuple[str, ...] = FOLDERS) -> list[Package]:
    """The packages of `folders`, their files below `out`, an empty folder.

    `pypi` holds unpacked releases, NAME-VERSION each. Raises PackageError with make's last words.
    """
    lmo = shlex.join([sys.executable, "-m", "tools.ipk.lmo"])
    for folder in folders:
        command = [
            *("make", "--silent", "--no-print-directory", "-C", str(REPOSITORY / folder)),
            *(f"TOPDIR={BUILDROOT}", f"OUT={out}", f"PYPI_DIR={pypi}", f"LMO={lmo}", "all"),
        ]
        # What a make above has set must not reach this one.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        }
        done = subprocess.run(
            command,
            env={**environment, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
            umask=_UMASK,
        )
        if done.returncode or done.stderr:
            raise PackageError(f"{folder}/Makefile: {done.stderr.strip() or done.stdout.strip()}")
    return [Package.read(folder.parent) for folder in sorted(out.glob("*/root"))]
