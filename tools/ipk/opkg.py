"""The format of opkg: a gzipped tar of `debian-binary`, `data.tar.gz` and `control.tar.gz`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from tools.ipk.archives import Member, compress, members_of, tar
from tools.ipk.package import Package

# opkg runs these two; OpenWrt's own functions then make the user, run uci-defaults, enable and start the
# service, and come back to the package's own script, under the name with "-pkg".
_FUNCTIONS: Final = "${IPKG_INSTROOT}/lib/functions.sh"
_POSTINST: Final = f"""#!/bin/sh
[ "${{IPKG_NO_SCRIPT}}" = 1 ] && exit 0
[ -s "{_FUNCTIONS}" ] || exit 0
. "{_FUNCTIONS}"
default_postinst "$0" "$@"
"""
_PRERM: Final = f"""#!/bin/sh
[ -s "{_FUNCTIONS}" ] || exit 0
. "{_FUNCTIONS}"
default_prerm "$0" "$@"
"""
_OWN_NAME: Final = {
    "preinst": "preinst",
    "postinst": "postinst-pkg",
    "prerm": "prerm-pkg",
    "postrm": "postrm",
}


def write_ipk(package: Package, folder: Path, mtime: int) -> Path:
    """Writes the package into `folder`; returns its file."""
    data = tar(members_of(package.root), mtime)
    control = tar(control_members(package, installed_size=len(data)), mtime)
    parts = [
        Member("debian-binary", 0o644, b"2.0\n"),
        Member("data.tar.gz", 0o644, compress(data)),
        Member("control.tar.gz", 0o644, compress(control)),
    ]
    file = folder / f"{package.name}_{package.version}_{package.architecture}.ipk"
    file.write_bytes(compress(tar(parts, mtime, with_top=False)))
    return file


def control_members(package: Package, *, installed_size: int) -> list[Member]:
    """The files that opkg keeps about the package, with `installed_size` in bytes."""
    members = [
        Member("control", 0o644, control_file(package, installed_size).encode()),
        Member("postinst", 0o755, _POSTINST.encode()),
        Member("prerm", 0o755, _PRERM.encode()),
    ]
    if package.conffiles:
        lines = "".join(f"{name}\n" for name in sorted(package.conffiles))
        members.append(Member("conffiles", 0o644, lines.encode()))
    for name, text in package.scripts.items():
        members.append(Member(_OWN_NAME[name], 0o755, text.encode()))
    return sorted(members, key=lambda member: member.name)


def control_file(package: Package, installed_size: int) -> str:
    """The fields of the package, in the order in which OpenWrt writes them; an empty one is left out."""
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Depends": ", ".join(package.depends),
        "Conflicts": ", ".join(package.conflicts),
        "Provides": ", ".join(package.provides),
        "License": package.license,
        "Section": package.section,
        "Require-User": package.user,
        "URL": package.url,
        "Maintainer": package.maintainer,
        "Architecture": package.architecture,
        "Installed-Size": str(installed_size),
        "Description": textwrap.indent(textwrap.dedent(package.description), " ").strip(),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
