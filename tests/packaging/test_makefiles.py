"""The package Makefiles as a feed, and one version everywhere."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import stripe_payments
import ubus_py
from tests.packaging.ipk_file import IpkFile
from tools.ipk.makefiles import BUILDROOT, FOLDERS, REPOSITORY, run_makefiles
from tools.ipk.package import Package, PackageError
from tools.ipk.stripe_release import LOCK, pinned


def _variable(folder: str, name: str) -> str:
    match = re.search(rf"^{name}:=(.+)$", (REPOSITORY / folder / "Makefile").read_text(), re.MULTILINE)
    assert match, f"{folder}/Makefile has no {name}"
    return match[1]


def test_the_top_makefile_is_no_package() -> None:
    """A feed whose top Makefile has these words breaks the index of the whole feed."""
    assert "call BuildPackage" not in (REPOSITORY / "Makefile").read_text()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_feed_finds_the_package(folder: str) -> None:
    """OpenWrt looks for these words, and takes the folders for packages that it finds them in."""
    text = (REPOSITORY / folder / "Makefile").read_text()
    assert text.count("include $(TOPDIR)/rules.mk") == 1
    assert re.search(r"^\$\(eval \$\(call BuildPackage,|^# call BuildPackage - OpenWrt", text, re.MULTILINE)


def test_the_version_is_in_one_place(packages: dict[str, IpkFile], for_hub_mode: IpkFile) -> None:
    ours = [*(package for name, package in packages.items() if "python3" not in name), for_hub_mode]
    assert {package.fields["Version"] for package in ours} == {f"{stripe_payments.__version__}-r1"}
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    (latest,) = re.findall(rf"(?m)^## {re.escape(stripe_payments.__version__)} – \d{{4}}-\d\d-\d\d$", changes)
    assert changes.index("\n## Unreleased\n") < changes.index(latest)
    bus = packages["python3-ubus-py"].fields["Version"]
    assert bus == f"{ubus_py.__version__}-r1"
    for folder in ("daemon", "luci-app-stripe-payments", "python3-ubus-py"):
        assert stripe_payments.__version__ not in (REPOSITORY / folder / "Makefile").read_text()
    for file in ("pyproject.toml", "hub/pyproject.toml"):
        project = tomllib.loads((REPOSITORY / file).read_text())
        assert project["project"]["dynamic"] == ["version"]
        assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "stripe_payments.__version__"}


def test_the_sdk_s_source_of_stripe_is_the_one_that_is_tested() -> None:
    version, hashes = pinned(LOCK.read_text())
    assert _variable("python3-stripe", "PKG_VERSION") == version
    assert _variable("python3-stripe", "PKG_HASH") in hashes


def test_paths_agree_with_the_init_script(packages: dict[str, IpkFile]) -> None:
    script = (REPOSITORY / "files/etc/init.d/stripe-payments").read_text()
    code = re.search(r"^CODE=(\S+)", script, re.MULTILINE)
    stripe = re.search(r"^STRIPE=(\S+)", script, re.MULTILINE)
    bus = re.search(r"^BUS=(\S+)", script, re.MULTILINE)
    assert code
    assert stripe
    assert bus
    assert f"{bus[1]}/ubus_py/__init__.py".lstrip("/") in packages["python3-ubus-py"].modes()
    assert f"{code[1]}/stripe_payments/__main__.py".lstrip("/") in packages["stripe-payments"].modes()
    assert f"{stripe[1]}/stripe/__init__.py".lstrip("/") in packages["python3-stripe"].modes()


def test_the_init_script_finds_the_versions_of_code_and_library(installed: Path) -> None:
    """By them procd learns of an upgrade, and bytecode is kept apart."""
    script = (REPOSITORY / "files/etc/init.d/stripe-payments").read_text()
    asked = re.findall(r"sed -n '(.+)' \"\$(CODE|BUS|STRIPE)(/.+)\"", script)
    folders = {
        "CODE": "usr/lib/stripe-payments",
        "BUS": "usr/lib/python3-ubus-py",
        "STRIPE": "usr/lib/python3-stripe",
    }
    found = [
        subprocess.run(
            ["sed", "-n", expression, f"{installed}/{folders[folder]}{file}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for expression, folder, file in asked
    ]
    assert found == [
        f"{version}\n"
        for version in (
            stripe_payments.__version__,
            ubus_py.__version__,
            _variable("python3-stripe", "PKG_VERSION"),
        )
    ]


def test_a_makefile_that_fails_is_reported_in_makes_words(tmp_path: Path) -> None:
    """python3-stripe without its source."""
    (tmp_path / "out").mkdir()
    with pytest.raises(PackageError, match=r"python3-stripe/Makefile: .*No such file"):
        run_makefiles(tmp_path / "out", tmp_path / "nothing", ("python3-stripe",))


def test_what_cannot_be_built_is_refused(tmp_path: Path) -> None:
    fields = {
        "SOURCE": "s",
        "VERSION": "1-r1",
        "PKGARCH": "all",
        "SECTION": "net",
        "TITLE": "T",
        "LICENSE": "MIT",
        "MAINTAINER": "M",
        "DEPENDS": "+a @b",
    }

    def read(**changes: str) -> Package:
        folder = tmp_path / "p"
        (folder / "root").mkdir(parents=True, exist_ok=True)
        for name, value in {**fields, "conffiles": "", **changes}.items():
            (folder / name).write_text(value)
        return Package.read(folder)

    assert read().depends == ("a",)
    for changes, words in [
        ({"PKGARCH": "aarch64_cortex-a53"}, "every processor"),
        ({"LICENSE": ""}, "no license"),
        ({"DEPENDS": "+PACKAGE_x:y"}, "beyond this tool"),
        ({"conffiles": "/etc/config/missing"}, "is not one of its files"),
    ]:
        with pytest.raises(PackageError, match=words):
            read(**changes)


def test_a_lock_file_without_hashes_is_refused() -> None:
    with pytest.raises(PackageError, match="does not pin"):
        pinned("stripe==16.1.0\n")


def test_make_names_both_targets_and_needs_the_sdk() -> None:
    text = subprocess.run(
        ["make", "-C", REPOSITORY, "help"], capture_output=True, text=True, check=True
    ).stdout
    assert "make ipk" in text
    assert "make apk" in text
    done = subprocess.run(
        ["make", "-C", REPOSITORY, "--old-file=.venv/.demo", "apk", "SDK="], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "OpenWrt SDK" in done.stderr


@pytest.mark.interop
def test_luci_s_own_rules_install_the_same_files(tmp_path: Path, packages: dict[str, IpkFile]) -> None:
    rules = Path(os.environ.get("LUCI_SRC", "/nowhere"), "luci.mk")
    compiler = Path(os.environ.get("OPENWRT_STAGING", "/nowhere"), "bin/po2lmo")
    if not (rules.exists() and compiler.exists()):
        pytest.skip("LUCI_SRC and OPENWRT_STAGING name no luci.mk and po2lmo")
    top, out = tmp_path / "top", tmp_path / "out"
    shutil.copytree(BUILDROOT, top)
    shutil.copy(rules, top / "feeds/luci/luci.mk")
    out.mkdir()
    done = subprocess.run(
        [
            *("make", "--silent", "-C", REPOSITORY / "luci-app-stripe-payments"),
            *(f"TOPDIR={top}", f"OUT={out}", "FIND=find", "XARGS=xargs", "SED=sed -i -e", "all"),
        ],
        env={"PATH": f"{compiler.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        umask=0o022,
    )
    assert done.returncode == 0, done.stderr
    for name in ("luci-app-stripe-payments", "luci-i18n-stripe-payments-it"):
        ours = tmp_path / name
        packages[name].unpack(ours)
        theirs = {
            file.relative_to(out / name / "root"): file.read_bytes()
            for file in (out / name / "root").rglob("*")
            if file.is_file()
        }
        assert theirs == {
            file.relative_to(ours): file.read_bytes() for file in ours.rglob("*") if file.is_file()
        }
        assert (out / name / "VERSION").read_text().strip() == packages[name].fields["Version"]
        assert (out / name / "LICENSE").read_text().strip() == packages[name].fields["License"]
