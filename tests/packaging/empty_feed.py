"""What OpenWrt's feeds would bring, as packages without files: every dependency is then found."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tools.ipk.package import Package

CONFIGURATION: Final = """dest root /
lists_dir ext /var/opkg-lists
arch all 1
"""
"""Of opkg, for packages that fit every processor."""


def write_empty_feed(
    folder: Path, depends: Mapping[str, set[str]], write: Callable[[Package, Path, int], Path]
) -> list[Path]:
    """Writes a package for everything that our packages depend on and are not; returns the files.

    `depends`: by the name of a package of ours; `write` writes a package into a folder, with a time.
    """
    needed = {name for names in depends.values() for name in names} - set(depends)
    (folder / "empty").mkdir(parents=True)
    return [
        write(
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
