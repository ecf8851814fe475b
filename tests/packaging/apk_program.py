"""The real apk, and what it says of a package file. Where it is: OPENWRT_STAGING/bin, or the PATH."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.ipk.apk import Sdk

# Root needs none to write packages of root's files.
_FAKEROOT = """#!/bin/sh
shift 4
[ "$(id -u)" = 0 ] && exec "$@"
exec fakeroot -- "$@"
"""


def find_apk() -> Path | None:
    """apk-tools 3, None where there is none: those before cannot write OpenWrt's packages."""
    path = os.environ.get("OPENWRT_STAGING", "/nowhere") + "/bin:" + os.environ["PATH"]
    found = shutil.which("apk", path=path)
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return Path(found) if said.stdout.startswith("apk-tools 3.") else None


def apk_problem() -> str | None:
    """Why no package can be written with the real apk here, None where it can."""
    if find_apk() is None:
        return "there is no apk-tools 3 in OPENWRT_STAGING/bin or on the PATH"
    if os.geteuid() != 0 and shutil.which("fakeroot") is None:
        return "writing packages for apk needs root or fakeroot"
    return None


def sdk_folder(folder: Path, apk: Path) -> Path:
    """Lays out of an OpenWrt SDK what `make apk SDK=folder` needs, with this `apk`; returns the folder."""
    host = folder / "staging_dir/host"
    for program, text in (("bin/fakeroot", _FAKEROOT), ("bin/faked", ""), ("lib/libfakeroot.so", "")):
        (host / program).parent.mkdir(parents=True, exist_ok=True)
        (host / program).write_text(text)
        (host / program).chmod(0o755)
    (host / "bin/apk").symlink_to(apk)
    return folder


def real_sdk(folder: Path) -> Sdk:
    """The real apk as an SDK has it. For those to whom `apk_problem` is None."""
    apk = find_apk()
    assert apk is not None
    return Sdk.find(sdk_folder(folder, apk))


@dataclass(frozen=True)
class ApkFile:
    """A package file in apk's own words (`apk adbdump`)."""

    info: dict[str, Any]
    scripts: dict[str, str]
    files: dict[str, int]
    """Path to mode of what it installs."""
    directories: dict[str, int]
    owners: frozenset[tuple[str, str]]
    """User and group of files and directories."""
    times: frozenset[int]
    """Of the files, in seconds since 1970."""

    @classmethod
    def read(cls, file: Path) -> "ApkFile":
        """What the real apk finds in `file`."""
        command = [str(find_apk()), "adbdump", "--format", "json", str(file)]
        said = subprocess.run(command, capture_output=True, check=True, timeout=60)
        dump = json.loads(said.stdout)
        files: dict[str, dict[str, Any]] = {}
        for folder in dump["paths"]:
            for entry in folder.get("files", []):
                files["/".join(filter(None, (folder.get("name"), entry["name"])))] = entry
        rights = [path["acl"] for path in (*dump["paths"], *files.values())]
        return cls(
            info=dump["info"],
            scripts=dump["scripts"],
            files={path: entry["acl"]["mode"] for path, entry in files.items()},
            directories={folder.get("name", ""): folder["acl"]["mode"] for folder in dump["paths"]},
            owners=frozenset((acl["user"], acl["group"]) for acl in rights),
            times=frozenset(entry["mtime"] for entry in files.values()),
        )
