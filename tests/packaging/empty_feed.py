"""What OpenWrt's feeds would bring, as packages without files: opkg then finds every dependency."""

from pathlib import Path

from tests.packaging.ipk_file import IpkFile
from tools.ipk.opkg import write_ipk
from tools.ipk.package import Package

CONFIGURATION = """dest root /
lists_dir ext /var/opkg-lists
arch all 1
"""
"""Of opkg, for packages that fit every processor."""


def write_empty_feed(folder: Path, packages: dict[str, IpkFile]) -> list[Path]:
    """Writes a package for everything that `packages` need and are not; returns the files."""
    needed = {name for package in packages.values() for name in package.depends} - set(packages)
    (folder / "empty").mkdir(parents=True)
    return [
        write_ipk(
            Package(
                name=name,
                source=name,
                version="1-r1",
                architecture="all",
                section="base",
                title=name,
                description=name,
                license="MIT",
                maintainer="The feed",
                url="",
                user="",
                depends=(),
                conffiles=(),
                scripts={},
                root=folder / "empty",
            ),
            folder,
            0,
        )
        for name in sorted(needed)
    ]
