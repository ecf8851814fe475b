"""A router on which OpenWrt's own package managers install this release of ours, and the one to follow it."""

import re
import shutil
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from tests.interop.openwrt import OpenWrt
from tests.interop.packages import install_feed_packages, point_at_stripe
from tests.packaging.empty_feed import CONFIGURATION, write_empty_feed
from tools.ipk.apk import Sdk, write_apk
from tools.ipk.makefiles import REPOSITORY, run_makefiles
from tools.ipk.opkg import write_ipk
from tools.ipk.package import Package
from tools.ipk.stripe_release import unpack

OURS: Final = (
    "python3-stripe python3-ubus-py stripe-payments-features stripe-payments luci-app-stripe-payments"
    " luci-i18n-stripe-payments-it"
)
FOLLOWING: Final = "9.0.0"
"""The version after this one: it has one more migration of the ledger, and ships another configuration."""
FOLLOWING_LIBRARY: Final = "99.0.0"
SHIPPED_WITH_IT: Final = "# of the following release\n"

_TIME: Final = 1_700_000_000
_NOBODY: Final = "http://127.0.0.1:9"
Write = Callable[[Package, Path, int], Path]


class PackagedRouter(OpenWrt):
    """Nothing of ours is installed; its feed has what ours needs. There is no Stripe."""

    program: ClassVar[str]
    """The package manager, below the built tree."""
    new_beside_changed: ClassVar[str]
    """How the file is named that comes with a package, beside a configuration that was changed."""

    def __init__(self, staging: Path, releases: Path) -> None:
        super().__init__(staging, self._put_packages_there)
        self._staging = staging
        self._releases = releases

    def _put_packages_there(self, files: Path) -> None:
        install_feed_packages(files)
        point_at_stripe(files, _NOBODY)
        shutil.copytree(self._releases, files / "root", dirs_exist_ok=True)

    @staticmethod
    @abstractmethod
    def write_releases(staging: Path, folder: Path) -> None:
        """Write the folders `ours`, `following` and `feed`, as packages of the kind that it installs."""

    @abstractmethod
    def install(self, release: str = "ours", *, only: str = "") -> None:
        """As README says it: this release, or the one in `release`; of its packages one or all."""

    @abstractmethod
    def go_back(self, *, only: str = "") -> None:
        """From the following release to this one."""

    @abstractmethod
    def remove(self) -> None:
        """All our packages, as an administrator would."""

    def mounted(self) -> list[str]:
        """What the gateway serves on LuCI's web server."""
        listed = self.sh("uci -q get uhttpd.main.ucode_prefix || :").split()
        return [entry.split("=")[0] for entry in listed if entry.endswith("/gateway.uc")]

    def on_the_bus(self, name: str) -> bool:
        """Whether an object is there."""
        return bool(self.run("ubus", "list", name).stdout.strip())

    def answers(self) -> bool:
        """Whether the daemon does."""
        return self.version() != ""

    def version(self) -> str:
        """Of the daemon that answers, empty where none does."""
        done = self.run("ubus", "-t", "2", "call", "stripe-payments", "status")
        found = re.search(r'"version": "(.*)"', done.stdout)
        return found[1] if found else ""


class OpkgRouter(PackagedRouter):
    """OpenWrt 24.10."""

    program = "bin/opkg"
    new_beside_changed = "-opkg"

    @staticmethod
    def write_releases(staging: Path, folder: Path) -> None:
        del staging
        _write_releases(folder, write_ipk)

    def _put_packages_there(self, files: Path) -> None:
        super()._put_packages_there(files)
        (files / "etc/opkg.conf").write_text(CONFIGURATION)

    def opkg(self, command: str) -> str:
        """opkg, where it must not fail."""
        return self.sh(f"{self._staging}/bin/opkg {command} 2>&1")

    def install(self, release: str = "ours", *, only: str = "") -> None:
        self.opkg("install /root/feed/*.ipk")
        self.opkg(f"install /root/{release}/{only or '*'}_*.ipk")

    def go_back(self, *, only: str = "") -> None:
        self.opkg(f"install --force-downgrade /root/ours/{only or '*'}_*.ipk")

    def remove(self) -> None:
        self.opkg(f"remove {' '.join(reversed(OURS.split()))}")


class ApkRouter(PackagedRouter):
    """OpenWrt 25.12."""

    program = "bin/apk"
    new_beside_changed = ".apk-new"

    @staticmethod
    def write_releases(staging: Path, folder: Path) -> None:
        apk = staging / "bin/apk"
        _write_releases(folder, partial(write_apk, sdk=Sdk(apk, ())))  # these tests are root's
        index = [str(apk), "mkndx", "--allow-untrusted", "--output", "packages.adb"]
        files = [file.name for file in (folder / "feed").glob("*.apk")]
        subprocess.run([*index, *files], cwd=folder / "feed", check=True, capture_output=True, timeout=60)

    def _put_packages_there(self, files: Path) -> None:
        super()._put_packages_there(files)
        (files / "etc/apk/repositories.d").mkdir(parents=True)
        (files / "etc/apk/repositories.d/feed.list").write_text("/root/feed/packages.adb\n")
        (files / "etc/apk/arch").write_text("aarch64_cortex-a53\n")

    def start(self) -> None:
        super().start()
        self.apk("add --initdb")

    def apk(self, command: str) -> str:
        """apk, where it must not fail."""
        return self.sh(f"{self._staging}/bin/apk {command} 2>&1")

    def install(self, release: str = "ours", *, only: str = "") -> None:
        self.apk("update --allow-untrusted")
        self.apk(f"add --allow-untrusted /root/{release}/{only or '*'}-*.apk")

    def go_back(self, *, only: str = "") -> None:
        self.install(only=only)

    def remove(self) -> None:
        self.apk(f"del {OURS}")


def _write_releases(folder: Path, write: Write) -> None:
    with tempfile.TemporaryDirectory(prefix="releases-") as scratch:
        out, pypi = Path(scratch, "out"), Path(scratch, "pypi")
        out.mkdir()
        unpack(REPOSITORY / "build/download", pypi)
        packages = [package for package in run_makefiles(out, pypi) if not package.conflicts]
        for name in ("ours", "following"):
            (folder / name).mkdir()
        for package in packages:
            write(package, folder / "ours", _TIME)
            write(_following(package), folder / "following", _TIME)
        write_empty_feed(folder / "feed", {package.name: set(package.depends) for package in packages}, write)


def _following(package: Package) -> Package:
    """The package in the following release: changes its files, when the present ones have been written."""
    if package.name == "python3-stripe":
        version = package.root / "usr/lib/python3-stripe/stripe/_version.py"
        _edit(version, r'(?m)^VERSION = ".*"$', f'VERSION = "{FOLLOWING_LIBRARY}"')
        return replace(package, version=f"{FOLLOWING_LIBRARY}-r1")
    if package.name == "stripe-payments":
        code = package.root / "usr/lib/stripe-payments/stripe_payments"
        _edit(code / "__init__.py", r'(?m)^__version__ = ".*"$', f'__version__ = "{FOLLOWING}"')
        schema = code / "ledger/schema.py"
        _edit(schema, r"(?m)^VERSION: Final = 4$", "VERSION: Final = 5")
        migrations = r"= \{3: _purchases_follow_from_objects\}"
        _edit(schema, migrations, r"\g<0> | {4: lambda connection: None}")
        for conffile in package.conffiles:
            with (package.root / conffile.lstrip("/")).open("a") as file:
                file.write(SHIPPED_WITH_IT)
    return replace(package, version=f"{FOLLOWING}-r1")


def _edit(file: Path, pattern: str, new: str) -> None:
    text, edits = re.subn(pattern, new, file.read_text())
    assert edits == 1, f"{file} has another form than expected"
    file.write_text(text)
