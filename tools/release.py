"""`python -m tools.release`: everything that a release consists of, in one folder.

Wheels of `ubus_py` and of the hub, the packages for opkg, with `--sdk` those for apk, the list of what they
need with its licences, and checksums.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.ipk.__main__ import build, source_date_epoch
from tools.ipk.apk import Sdk
from tools.ipk.package import PackageError
from tools.msgfmt import compile_daemon_catalog, compile_hub_catalog
from tools.sbom import document

REPOSITORY: Final = Path(__file__).resolve().parents[1]
WHEELS: Final = ("daemon/ubus_py", "hub")
CHECKSUMS: Final = "SHA256SUMS"
BILL_OF_MATERIALS: Final = "sbom.cdx.json"
"""Software bill of materials, by CycloneDX's convention for its name."""

_COPIED: Final = ("daemon", "hub", "tools")
_BUILD: Final = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"


def main() -> int:
    """0, or 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="tools.release", description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/release", metavar="DIR")
    parser.add_argument("--downloads", type=Path, default=REPOSITORY / "build/download", metavar="DIR")
    parser.add_argument("--sdk", type=Path, metavar="DIR", help="an OpenWrt SDK from 25.12 on, for apk")
    options = parser.parse_args()
    try:
        release(options.output, options.downloads, options.sdk)
    except PackageError as error:
        print(f"tools.release: {error}", file=sys.stderr)
        return 1
    print((options.output / CHECKSUMS).read_text(), end="")
    if options.sdk is None:
        print("No packages for apk (OpenWrt 25.12): they need an unpacked OpenWrt SDK, SDK=DIR.")
    return 0


def release(output: Path, downloads: Path, sdk: Path | None = None) -> None:
    """Build everything into `output`, whose content goes. Raises PackageError."""
    found = Sdk.find(sdk) if sdk else None
    shutil.rmtree(output, ignore_errors=True)
    time = source_date_epoch()
    compile_daemon_catalog()
    compile_hub_catalog()
    for folder in WHEELS:
        build_wheel(folder, output, time)
    build(output / "ipk", downloads, time)
    if found is not None:
        build(output / "apk", downloads, time, found)
    (output / BILL_OF_MATERIALS).write_text(json.dumps(document(time), indent=2) + "\n")
    files = sorted(file.relative_to(output) for file in output.rglob("*") if file.is_file())
    lines = [f"{hashlib.sha256((output / file).read_bytes()).hexdigest()}  {file}\n" for file in files]
    (output / CHECKSUMS).write_text("".join(lines))


def build_wheel(folder: str, output: Path, mtime: int | None = None) -> Path:
    """Build the wheel of a folder of this repository in a copy of it, without a network; the wheel's path."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
        top, built = Path(scratch) / "top", Path(scratch) / "built"
        for part in _COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
            shutil.copytree(REPOSITORY / part, top / part, ignore=ignored, symlinks=True)
        shutil.copy(REPOSITORY / "LICENSE", top)
        built.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, str(built)],
            cwd=top / folder,
            env={**os.environ, **({"SOURCE_DATE_EPOCH": str(mtime)} if mtime is not None else {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PackageError(f"{folder}: {done.stderr.strip()[-2000:]}")
        (wheel,) = built.glob("*.whl")
        return Path(shutil.copy(wheel, output))


if __name__ == "__main__":
    sys.exit(main())
