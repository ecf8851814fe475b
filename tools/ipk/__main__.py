"""`python -m tools.ipk`: builds every package of this repository; `--sdk` makes apk's of them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.ipk.apk import Sdk, write_apk
from tools.ipk.makefiles import REPOSITORY, run_makefiles
from tools.ipk.opkg import write_ipk
from tools.ipk.package import Package, PackageError
from tools.ipk.stripe_release import unpack

VARIANTS: Final = "variants"


def main() -> int:
    """0, or 1 with a sentence on standard error."""
    options = _options()
    try:
        sdk = Sdk.find(options.sdk) if options.sdk else None
        built = build(options.output, options.downloads, source_date_epoch(), sdk)
    except PackageError as error:
        print(f"tools.ipk: {error}", file=sys.stderr)
        return 1
    print("package   installed")
    for file, installed in built:
        print(f"{_kib(file.stat().st_size)} {_kib(installed)}  {os.path.relpath(file)}")
    return 0


def _kib(size: int) -> str:
    return f"{-(-size // 1024):>5} KiB"


def build(output: Path, downloads: Path, mtime: int, sdk: Sdk | None = None) -> list[tuple[Path, int]]:
    """Builds all packages into `output`, whose older packages go; `mtime`: the time of every file in them. A
    package that another one conflicts with is in its folder `VARIANTS`: the files of `output` itself can be
    installed together.

    Returns each package's file with the size in bytes of what it installs.
    """
    (output / VARIANTS).mkdir(parents=True, exist_ok=True)
    for old in (*output.rglob("*.ipk"), *output.rglob("*.apk")):
        old.unlink()

    def write(package: Package) -> Path:
        folder = output / VARIANTS if package.conflicts else output
        return write_apk(package, folder, mtime, sdk) if sdk else write_ipk(package, folder, mtime)

    with tempfile.TemporaryDirectory(prefix="ipk-") as scratch:
        out, pypi = Path(scratch) / "out", Path(scratch) / "pypi"
        out.mkdir()
        unpack(downloads, pypi)
        packages = run_makefiles(out, pypi)
        return [(write(package), package.installed_size()) for package in packages]


def source_date_epoch() -> int:
    """The time that the files in a package bear: SOURCE_DATE_EPOCH, else the last commit's.

    At boot a router without a clock takes the newest file's time for now: it must not lie in the future.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    git = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError("this is no git checkout: say the time of the release in SOURCE_DATE_EPOCH")
    return int(done.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.ipk", description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/ipk", metavar="DIR")
    parser.add_argument("--downloads", type=Path, default=REPOSITORY / "build/download", metavar="DIR")
    parser.add_argument(
        "--sdk", type=Path, metavar="DIR", help="an OpenWrt SDK from 25.12 on; makes .apk files"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
