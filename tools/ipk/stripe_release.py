"""The release of Stripe's library that the lock file pins, unpacked."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.ipk.makefiles import REPOSITORY
from tools.ipk.package import PackageError

LOCK: Final = REPOSITORY / "requirements/demo.txt"

_PINNED: Final = re.compile(
    r"^stripe==(?P<version>[0-9.]+)(?P<hashes>(?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)


def pinned(lock: str) -> tuple[str, frozenset[str]]:
    """Version and SHA-256 digests of the release's files, by the text of a lock file."""
    match = _PINNED.search(lock)
    if match is None:
        raise PackageError(f"{LOCK.name} does not pin stripe with hashes")
    return match["version"], frozenset(re.findall(r"sha256:([0-9a-f]{64})", match["hashes"]))


def unpack(downloads: Path, target: Path) -> None:
    """Unpacks the release as `target`/stripe-VERSION; what was downloaded before is used again."""
    text = LOCK.read_text("utf-8")
    version, hashes = pinned(text)
    downloads.mkdir(parents=True, exist_ok=True)
    wheel = _downloaded(downloads, version, hashes)
    if wheel is None:
        _download(downloads, text)
        wheel = _downloaded(downloads, version, hashes)
    if wheel is None:
        raise PackageError(f"no wheel of stripe {version} with a pinned hash was found")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / f"stripe-{version}")


def _downloaded(downloads: Path, version: str, hashes: frozenset[str]) -> Path | None:
    for wheel in downloads.glob(f"stripe-{version}-*.whl"):
        if sha256(wheel.read_bytes()).hexdigest() in hashes:
            return wheel
    return None


def _download(downloads: Path, lock: str) -> None:
    match = _PINNED.search(lock)
    assert match is not None
    requirement = downloads / "stripe.txt"
    requirement.write_text(match[0] + "\n", "utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    choice = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirement)]
    done = subprocess.run(
        [*pip, *choice, "--dest", str(downloads)], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise PackageError(f"stripe could not be downloaded: {done.stderr.strip()}")
