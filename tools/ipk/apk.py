"""The format of apk, through the SDK's own `apk mkpkg`: its archives are not something to write twice.

Source of the rules: OpenWrt 25.12, include/package-pack.mk. apk knows neither users nor
configuration files to keep; OpenWrt's scripts find both in files below /lib/apk/packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.ipk.package import Package, PackageError

_RECORDS: Final = "lib/apk/packages"


@dataclass(frozen=True)
class Sdk:
    """The programs of an SDK that a package needs."""

    apk: Path
    fakeroot: tuple[str, ...]

    @classmethod
    def find(cls, folder: Path) -> Sdk:
        """The programs below the SDK's folder; PackageError where it is none, or one from before 25.12."""
        host = folder.resolve() / "staging_dir/host"
        apk, fakeroot = host / "bin/apk", host / "bin/fakeroot"
        for program in (apk, fakeroot):
            if not os.access(program, os.X_OK):
                raise PackageError(
                    f"{program} is missing: SDK=… must name an unpacked OpenWrt SDK, 25.12 or newer"
                )
        library, daemon = host / "lib/libfakeroot.so", host / "bin/faked"
        return cls(apk, (str(fakeroot), "-l", str(library), "-f", str(daemon)))


def write_apk(package: Package, folder: Path, mtime: int, sdk: Sdk) -> Path:
    """Writes the package into `folder`; returns its file."""
    file = folder / f"{package.name}-{package.version}.apk"
    with tempfile.TemporaryDirectory(prefix="apk-") as scratch:
        files, scripts = Path(scratch) / "files", Path(scratch) / "scripts"
        shutil.copytree(package.root, files, symlinks=True)
        add_records(package, files)
        scripts.mkdir()
        for name, text in lifecycle_scripts(package).items():
            (scripts / name).write_text(text, "utf-8")
            (scripts / name).chmod(0o755)
        for path in (files, *files.rglob("*")):
            os.utime(path, (mtime, mtime))
        done = subprocess.run(
            [*sdk.fakeroot, str(sdk.apk), *mkpkg_arguments(package, files, scripts, file)],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(mtime)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or not file.exists():
        raise PackageError(f"{package.name}: apk mkpkg: {done.stderr.strip() or 'it wrote no package'}")
    return file


def mkpkg_arguments(package: Package, files: Path, scripts: Path, output: Path) -> list[str]:
    """The arguments of `apk` that make `output` of what lies in `files` and `scripts`.

    Every package provides NAME-any. What a variant stands in for it provides with its version: then apk
    installs only one of both.
    """
    info = {
        "name": package.name,
        "version": package.version,
        "description": " ".join(package.description.split()),
        "arch": "noarch",
        "license": package.license,
        "origin": package.source,
        "url": package.url,
        "maintainer": package.maintainer,
        "provides": " ".join(
            [f"{package.name}-any", *(f"{name}={package.version}" for name in package.provides)]
        ),
        "provider-priority": "100" if package.preferred else "",
        "depends": " ".join(package.depends),
    }
    arguments = ["mkpkg"]
    for name, value in info.items():
        if value:
            arguments += ["--info", f"{name}:{value}"]
    for name in lifecycle_scripts(package):
        arguments += ["--script", f"{name}:{scripts / name}"]
    return [*arguments, "--files", str(files), "--output", str(output)]


def add_records(package: Package, files: Path) -> None:
    """Lists the files, the user to make and the configuration to keep, where OpenWrt's scripts look."""
    folder = files / _RECORDS
    folder.mkdir(parents=True, exist_ok=True)

    def write(ending: str, lines: Iterable[str]) -> None:
        record = folder / f"{package.name}{ending}"
        record.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        record.chmod(0o644)

    if package.user:
        write(".rusers", [package.user])
    # Of the records the list has, like OpenWrt's, those alone that are there before it.
    installed = [path for path in files.rglob("*") if not path.is_dir()]
    write(".list", sorted(f"/{path.relative_to(files)}" for path in installed))
    if package.conffiles:
        names = sorted(package.conffiles)
        write(".conffiles", names)
        sums = [sha256((files / name.lstrip("/")).read_bytes()).hexdigest() for name in names]
        write(".conffiles_static", [f"{name} {digest}" for name, digest in zip(names, sums, strict=True)])
    for made in (files / "lib", files / "lib/apk", folder):
        made.chmod(0o755)


def lifecycle_scripts(package: Package) -> dict[str, str]:
    """The scripts by apk's names: OpenWrt's own steps, then the package's.

    apk tells a script neither the file system's root nor the package's name: both are variables here.
    An upgrade runs the new package's scripts alone, and what `default_postinst` does for one.
    """
    functions = '"${IPKG_INSTROOT}/lib/functions.sh"'
    known = (
        f"[ -s {functions} ] || exit 0\n"
        f". {functions}\n"
        'export root="${IPKG_INSTROOT}"\n'
        f'export pkgname="{package.name}"\n'
    )
    installed = (
        f'[ "${{IPKG_NO_SCRIPT}}" = 1 ] && exit 0\n{known}add_group_and_user\ndefault_postinst\n'
        + _body(package, "postinst")
    )
    upgrade = "export PKG_UPGRADE=1\n"
    steps = {
        "post-install": installed,
        "post-upgrade": upgrade + installed,
        "pre-deinstall": known + "default_prerm\n" + _body(package, "prerm"),
    }
    if "preinst" in package.scripts:
        steps["pre-install"] = _body(package, "preinst")
        steps["pre-upgrade"] = upgrade + _body(package, "preinst")
    if "postrm" in package.scripts:
        steps["post-deinstall"] = _body(package, "postrm")
    return {name: f"#!/bin/sh\n{text}" for name, text in steps.items()}


def _body(package: Package, name: str) -> str:
    """One of the package's own scripts, without the line that names the shell."""
    lines = package.scripts.get(name, "").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#!"))
