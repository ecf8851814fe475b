"""The packages as the real apk writes, reads and installs them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from stripe_payments import __version__
from tests.packaging.apk_program import ApkFile, apk_problem, find_apk, real_sdk, sdk_folder
from tests.packaging.conftest import DOWNLOADS, TIME, build_elsewhere, content
from tests.packaging.empty_feed import write_empty_feed
from tests.packaging.installed_tree import assert_holds
from tests.packaging.ipk_file import IpkFile
from tests.packaging.test_archives import NAMES
from tests.packaging.test_control import DEPENDS
from tools.ipk.__main__ import build
from tools.ipk.apk import write_apk

pytestmark = [pytest.mark.interop, pytest.mark.skipif(apk_problem() is not None, reason=str(apk_problem()))]

RECORDS = "lib/apk/packages"
SCRIPTS = {
    "stripe-payments": {"post-install", "post-upgrade", "pre-deinstall", "post-deinstall"},
    "stripe-payments-features": {"post-install", "post-upgrade", "pre-deinstall"},
    "python3-stripe": {"post-install", "post-upgrade", "pre-deinstall"},
    "python3-ubus-py": {"post-install", "post-upgrade", "pre-deinstall"},
    "luci-app-stripe-payments": {"post-install", "post-upgrade", "pre-deinstall", "post-deinstall"},
    "luci-i18n-stripe-payments-it": {"post-install", "post-upgrade", "pre-deinstall"},
}


@pytest.fixture(scope="session")
def built_apks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make apk` fills."""
    output = tmp_path_factory.mktemp("apk")
    build(output, DOWNLOADS, TIME, real_sdk(tmp_path_factory.mktemp("sdk")))
    return output


@pytest.fixture(scope="session")
def apk_files(built_apks: Path) -> dict[str, ApkFile]:
    """The packages by name."""
    files = [ApkFile.read(file) for file in built_apks.rglob("*.apk")]
    return {file.info["name"]: file for file in files}


class Apk:
    """apk over a folder that is a router's `/`, with a feed. It runs no scripts there."""

    def __init__(self, root: Path, feed: Path | None) -> None:
        self.root = root
        (root / "etc/apk/repositories.d").mkdir(parents=True)
        (root / "etc/apk/arch").write_text("aarch64_cortex-a53\n")
        if feed is not None:
            (root / "etc/apk/repositories.d/feed.list").write_text(f"{feed}/packages.adb\n")
        self("add", "--initdb")

    def __call__(self, command: str, *arguments: str | Path) -> str:
        """Runs a command that must not fail; returns what it said."""
        options: list[str | Path] = ["--root", self.root, "--allow-untrusted"]
        words: list[str | Path] = [str(find_apk()), *options, command, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add(self, *packages: str | Path) -> str:
        """Installs files, and from the feed what they need."""
        return self("add", "--no-scripts", *packages)


@pytest.fixture
def root() -> Iterator[Path]:
    """A router's `/` on disk: where it is a tmpfs, apk installs no package that comes as a file."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder) / "root"


@pytest.fixture
def apk(tmp_path: Path, root: Path) -> Apk:
    """A router whose feed has everything that our packages need."""
    feed = tmp_path / "feed"
    files = write_empty_feed(feed, DEPENDS, partial(write_apk, sdk=real_sdk(tmp_path / "sdk")))
    index = [str(find_apk()), "mkndx", "--allow-untrusted", "--output", "packages.adb"]
    subprocess.run([*index, *files], cwd=feed, check=True, capture_output=True, timeout=60)
    return Apk(root, feed)


def test_building_again_gives_the_same_bytes(built_apks: Path, tmp_path: Path) -> None:
    """And with an older package in the way."""
    sdk, output = sdk_folder(tmp_path / "sdk", Path(str(find_apk()))), tmp_path / "out"
    output.mkdir()
    (output / "stripe-payments-0.0.1-r1.apk").write_bytes(b"old")
    build_elsewhere(output, "--sdk", str(sdk))
    assert content(output) == content(built_apks)


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_those_of_the_other_format(
    apk_files: dict[str, ApkFile], packages: dict[str, IpkFile], name: str
) -> None:
    info, fields = apk_files[name].info, packages[name].fields
    assert {
        field: info.get(field) for field in ("name", "version", "arch", "license", "maintainer", "url")
    } == {
        "name": name,
        "version": fields["Version"],
        "arch": "noarch",
        "license": fields["License"],
        "maintainer": fields["Maintainer"],
        "url": fields.get("URL"),
    }
    assert info["description"].strip() == " ".join(fields["Description"].split())
    assert set(info["depends"]) == DEPENDS[name]
    assert info["provides"] == [f"{name}-any"]


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_the_other_format_and_of_root(
    apk_files: dict[str, ApkFile], packages: dict[str, IpkFile], name: str
) -> None:
    package = apk_files[name]
    records = {path for path in package.files if path.startswith(f"{RECORDS}/{name}.")}
    assert {path: mode for path, mode in package.files.items() if path not in records} == {
        path: mode for path, mode in packages[name].modes().items() if not path.endswith("/")
    }
    assert {package.files[record] for record in records} == {0o644}
    assert set(package.directories.values()) == {0o755}
    assert package.owners == {("root", "root")}
    assert package.times == {TIME}


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_such_that_a_shell_reads(apk_files: dict[str, ApkFile], name: str) -> None:
    scripts = apk_files[name].scripts
    assert set(scripts) == SCRIPTS[name]
    for text in scripts.values():
        assert text.startswith("#!/bin/sh\n")
        subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=True)


def test_it_installs_what_the_packages_hold(apk: Apk, built_apks: Path, installed: Path) -> None:
    apk.add(*built_apks.glob("*.apk"))
    assert set(apk("info").split()) == set(DEPENDS) | {name for names in DEPENDS.values() for name in names}
    assert_holds(apk.root, installed)
    records = apk.root / RECORDS
    for name in NAMES:
        listed = (records / f"{name}.list").read_text().splitlines()
        for path in listed:
            assert (apk.root / path.lstrip("/")).is_file()
    for line in (records / "stripe-payments.conffiles_static").read_text().splitlines():
        path, digest = line.split()
        assert sha256((apk.root / path.lstrip("/")).read_bytes()).hexdigest() == digest


def _with_a_feed(tmp_path: Path, built_apks: Path) -> Apk:
    """A router whose feed has our packages, too, the variant among them."""
    feed = tmp_path / "feed"
    files = write_empty_feed(feed, DEPENDS, partial(write_apk, sdk=real_sdk(tmp_path / "sdk")))
    files += [Path(shutil.copy(file, feed)) for file in built_apks.rglob("*.apk")]
    index = [str(find_apk()), "mkndx", "--allow-untrusted", "--output", "packages.adb"]
    subprocess.run([*index, *files], cwd=feed, check=True, capture_output=True, timeout=60)
    return Apk(tmp_path / "root", feed)


def test_of_a_feed_the_package_with_the_library_is_preferred(tmp_path: Path, built_apks: Path) -> None:
    """A router in direct mode keeps it through upgrades, although the variant provides the same."""
    apk = _with_a_feed(tmp_path, built_apks)
    apk.add("luci-app-stripe-payments")
    for _ in range(2):
        assert {"stripe-payments", "python3-stripe", "python3-requests"} <= set(apk("info").split())
        assert "stripe-payments-hub" not in apk("info").split()
        apk("upgrade", "--no-scripts", "--available")


def test_hub_mode_needs_no_library_of_stripe_s(tmp_path: Path, built_apks: Path) -> None:
    apk = _with_a_feed(tmp_path, built_apks)
    apk.add("luci-app-stripe-payments", "stripe-payments-hub")
    apk("upgrade", "--no-scripts", "--available")
    apk.add("stripe-payments")  # it is there by that name
    there = set(apk("info").split())
    assert {"stripe-payments-hub", "luci-app-stripe-payments"} <= there
    assert not {"stripe-payments", "python3-stripe", "python3-requests"} & there


def test_it_says_what_is_missing(root: Path, built_apks: Path) -> None:
    bare = Apk(root, None)
    (file,) = built_apks.glob(f"stripe-payments-{__version__}-*.apk")
    with pytest.raises(AssertionError, match="python3-sqlite3"):
        bare.add(file)


def test_an_image_is_put_together_with_user_and_service(
    apk: Apk, built_apks: Path, apk_files: dict[str, ApkFile], tmp_path: Path
) -> None:
    """As OpenWrt's image builder does it: the files first, then each script over the image's folder."""
    rootfs = Path(os.environ.get("OPENWRT_STAGING", "/nowhere"), "rootfs")
    if not rootfs.exists():
        pytest.skip("OPENWRT_STAGING names no folder with rootfs")
    apk.add(*built_apks.glob("*.apk"))
    for source, target in (
        ("usr/lib/functions", "lib/functions"),
        ("usr/share/libubox", "usr/share/libubox"),
        ("usr/lib/functions.sh", "lib/functions.sh"),
        *((name, name) for name in ("etc/rc.common", "etc/passwd", "etc/group")),
    ):
        copy = shutil.copytree if (rootfs / source).is_dir() else shutil.copyfile
        copy(rootfs / source, apk.root / target)
    for folder in ("etc/rc.d", "var/lock"):
        (apk.root / folder).mkdir()
    for name in NAMES:
        script = tmp_path / f"{name}.post-install"
        script.write_text(apk_files[name].scripts["post-install"])
        done = subprocess.run(
            ["bash", script],
            env={"PATH": os.environ["PATH"], "IPKG_INSTROOT": str(apk.root)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert "\nstripe-payments:" in (apk.root / "etc/passwd").read_text()
    assert "\nstripe-payments:" in (apk.root / "etc/group").read_text()
    assert sorted(link.name for link in (apk.root / "etc/rc.d").iterdir()) == [
        "K10stripe-payments",
        "S95stripe-payments",
    ]
    # These are for the router's first boot.
    assert sorted(file.name for file in (apk.root / "etc/uci-defaults").iterdir()) == [
        "50-stripe-payments",
        "luci-i18n-stripe-payments-it",
    ]
