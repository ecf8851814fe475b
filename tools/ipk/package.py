"""What one OpenWrt package is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")

_DEPENDENCY: Final = re.compile(r"\+?([a-z0-9][a-z0-9.+-]*)")


class PackageError(Exception):
    """A package Makefile asks for what cannot be built. The message is for its author."""


@dataclass(frozen=True)
class Package:
    """One package, its files laid out below `root` with the modes that they are to have."""

    name: str
    source: str
    """The name of what it is built from, which other packages may be built from, too."""
    version: str
    architecture: str
    section: str
    title: str
    description: str
    license: str
    maintainer: str
    url: str
    user: str
    """`user:group`, made at installation; empty where the package needs none."""
    depends: tuple[str, ...]
    conffiles: tuple[str, ...]
    scripts: dict[str, str]
    """Of `SCRIPTS`, those that the Makefile has."""
    root: Path
    provides: tuple[str, ...] = ()
    """Other packages that this one stands in for."""
    conflicts: tuple[str, ...] = ()
    """Packages that cannot be installed beside this one."""
    preferred: bool = False
    """Among those that provide the same."""

    @classmethod
    def read(cls, folder: Path) -> Package:
        """The package that the stand-in for the build system described in `folder`."""

        def field(name: str) -> str:
            file = folder / name
            return file.read_text("utf-8").strip() if file.exists() else ""

        package = cls(
            name=folder.name,
            source=field("SOURCE"),
            version=field("VERSION"),
            architecture=field("PKGARCH"),
            section=field("SECTION"),
            title=field("TITLE"),
            description=field("description") or field("TITLE"),
            license=field("LICENSE"),
            maintainer=field("MAINTAINER"),
            url=field("URL"),
            user=field("USERID"),
            depends=_dependencies(folder.name, field("DEPENDS")),
            provides=tuple(field("PROVIDES").split()),
            conflicts=tuple(field("CONFLICTS").split()),
            preferred=field("DEFAULT_VARIANT") == "1",
            conffiles=tuple(field("conffiles").split()),
            scripts={name: field(name) + "\n" for name in SCRIPTS if field(name)},
            root=folder / "root",
        )
        package._check()
        return package

    def _check(self) -> None:
        for what in ("source", "version", "architecture", "section", "title", "license", "maintainer"):
            if not getattr(self, what):
                raise PackageError(f"{self.name}: no {what}")
        if self.architecture != "all":
            raise PackageError(f"{self.name}: only packages for every processor can be built without the SDK")
        for conffile in self.conffiles:
            if not (self.root / conffile.lstrip("/")).is_file():
                raise PackageError(f"{self.name}: its conffile {conffile} is not one of its files")

    def installed_size(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())


def _dependencies(package: str, text: str) -> tuple[str, ...]:
    """`+a +b` as names. `@X` is a condition on the firmware's configuration, not a package."""
    names = []
    for word in text.split():
        if word.startswith("@"):
            continue
        match = _DEPENDENCY.fullmatch(word)
        if match is None:
            raise PackageError(f"{package}: the dependency {word!r} is beyond this tool")
        names.append(match[1])
    return tuple(names)
