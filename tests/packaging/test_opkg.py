"""opkg's own program installs the packages into a folder, upgrades and removes them."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.packaging.conftest import TIME
from tests.packaging.empty_feed import CONFIGURATION, write_empty_feed
from tests.packaging.installed_tree import assert_holds
from tests.packaging.ipk_file import IpkFile
from tools.ipk.opkg import write_ipk
from tools.ipk.package import Package


def _opkg() -> Path | None:
    found = shutil.which(
        "opkg", path=os.environ["PATH"] + ":" + os.environ.get("OPENWRT_STAGING", "/nowhere") + "/bin"
    )
    return Path(found) if found else None


pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(_opkg() is None, reason="there is no opkg on the PATH or in OPENWRT_STAGING/bin"),
]


class Opkg:
    """opkg over a folder that is a router's `/`. In such a folder it runs no scripts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("etc/opkg", "tmp", "var/lock", "usr/lib/opkg"):
            (root / folder).mkdir(parents=True)
        (root / "etc/opkg.conf").write_text(CONFIGURATION)

    def __call__(self, *arguments: str | Path) -> str:
        """Runs a command that must not fail; returns what it said."""
        done = subprocess.run(
            [str(_opkg()), "-o", self.root, *arguments], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def opkg(tmp_path: Path, packages: dict[str, IpkFile]) -> Opkg:
    """A router with everything of the feeds that is depended on."""
    opkg = Opkg(tmp_path / "root")
    depends = {name: package.depends for name, package in packages.items()}
    opkg("install", *write_empty_feed(tmp_path / "feed", depends, write_ipk))
    return opkg


def _install(opkg: Opkg, built: Path) -> None:
    for name in (
        "python3-stripe",
        "python3-ubus-py",
        "stripe-payments-features",
        "stripe-payments",
        "luci-app-stripe-payments",
        "luci-i18n-stripe-payments-it",
    ):
        (file,) = built.glob(f"{name}_*.ipk")
        opkg("install", file)


def test_it_installs_what_the_packages_hold(
    opkg: Opkg, built: Path, packages: dict[str, IpkFile], installed: Path
) -> None:
    _install(opkg, built)
    listed = opkg("list-installed").splitlines()
    assert {line.split(" - ")[0] for line in listed} >= set(packages)
    assert_holds(opkg.root, installed)
    for name, package in packages.items():
        files = opkg("files", name).splitlines()[1:]
        assert {line.removeprefix(str(opkg.root)).lstrip("/") for line in files} == {
            path for path in package.modes() if not path.endswith("/")
        }
    scripts = opkg.root / "usr/lib/opkg/info"
    assert os.access(scripts / "stripe-payments.prerm-pkg", os.X_OK)
    assert os.access(scripts / "luci-app-stripe-payments.postinst-pkg", os.X_OK)


def test_hub_mode_needs_no_library_of_stripe_s(opkg: Opkg, built: Path) -> None:
    """Its package takes the place of the other, never beside it."""
    (app,) = built.glob("luci-app-stripe-payments_*.ipk")
    (for_hub_mode,) = built.glob("variants/stripe-payments-hub_*.ipk")
    parts = [*built.glob("python3-ubus-py_*.ipk"), *built.glob("stripe-payments-features_*.ipk")]
    opkg("install", *parts, for_hub_mode, app)
    listed = opkg("list-installed")
    assert "luci-app-stripe-payments" in listed
    assert "python3-stripe" not in listed
    (other,) = built.glob("stripe-payments_*.ipk")
    (library,) = built.glob("python3-stripe_*.ipk")
    opkg("install", library)
    with pytest.raises(AssertionError, match="already provided by package"):
        opkg("install", other)


def test_it_says_what_is_missing(tmp_path: Path, built: Path) -> None:
    bare = Opkg(tmp_path / "root")
    (file,) = built.glob("stripe-payments_*.ipk")
    with pytest.raises(AssertionError, match="python3-sqlite3"):
        bare("install", file)


def test_an_upgrade_keeps_a_changed_configuration(
    opkg: Opkg, built: Path, installed: Path, tmp_path: Path
) -> None:
    _install(opkg, built)
    config = opkg.root / "etc/config/stripe-payments"
    changed = config.read_text().replace("option grace_days '7'", "option grace_days '3'")
    config.write_text(changed)

    (tmp_path / "next/etc/config").mkdir(parents=True)
    shipped = (installed / "etc/config/stripe-payments").read_text()
    (tmp_path / "next/etc/config/stripe-payments").write_text(shipped + "# of the next release\n")
    following = Package(
        name="stripe-payments",
        source="stripe-payments",
        version="9.0.0-r1",
        architecture="all",
        section="net",
        title="t",
        description="d",
        license="Apache-2.0",
        maintainer="m",
        url="",
        user="stripe-payments:stripe-payments",
        depends=(),
        conffiles=("/etc/config/stripe-payments",),
        scripts={},
        root=tmp_path / "next",
    )
    opkg("install", write_ipk(following, tmp_path, TIME))
    assert config.read_text() == changed
    assert "# of the next release" in config.with_name("stripe-payments-opkg").read_text()
    code = opkg.root / "usr/lib/stripe-payments"
    assert not [file for file in code.rglob("*") if file.is_file()], "what the next release lacks goes"

    older = replace(following, version="0.0.1-r1")
    assert "Not downgrading" in opkg("install", write_ipk(older, tmp_path, TIME))


def test_a_removal_keeps_what_was_changed_and_what_is_known(opkg: Opkg, built: Path) -> None:
    _install(opkg, built)
    config = opkg.root / "etc/config/stripe-features"
    config.write_text(config.read_text().replace("unlocked '0'", "unlocked '1'", 1))
    state = opkg.root / "etc/stripe-payments"
    state.mkdir()
    (state / "secrets.json").write_text("{}")

    opkg(
        "remove",
        "luci-i18n-stripe-payments-it",
        "luci-app-stripe-payments",
        "stripe-payments",
        "stripe-payments-features",
        "python3-stripe",
        "python3-ubus-py",
    )
    left = {str(file.relative_to(opkg.root)) for file in opkg.root.rglob("*") if file.is_file()}
    assert {name for name in left if "stripe" in name} == {
        "etc/config/stripe-features",
        "etc/stripe-payments/secrets.json",
    }
