"""Packages for apk. Its archives are the SDK's to write: a stand-in for the SDK reports its arguments."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ubus_py
from stripe_payments import __version__
from tests.packaging.conftest import DOWNLOADS, TIME
from tests.packaging.test_control import DEPENDS
from tools.ipk.__main__ import build
from tools.ipk.apk import Sdk
from tools.ipk.makefiles import REPOSITORY
from tools.ipk.package import PackageError

# Says in the package's place what it was given: arguments, files with modes and times, scripts.
APK = f"""#!{sys.executable}
import json, os, pathlib, sys
arguments = sys.argv[1:]
options = {{}}
assert arguments.pop(0) == "mkpkg"
while arguments:
    name, value = arguments.pop(0), arguments.pop(0)
    options.setdefault(name, []).append(value)
files = pathlib.Path(options["--files"][0])
scripts = dict(script.split(":", 1) for script in options.get("--script", []))
json.dump({{
    "info": dict(info.split(":", 1) for info in options["--info"]),
    "scripts": {{name: pathlib.Path(file).read_text() for name, file in scripts.items()}},
    "files": {{str(path.relative_to(files)): path.stat().st_mode & 0o7777
              for path in files.rglob("*") if path.is_file()}},
    "records": {{path.name: path.read_text() for path in (files / "lib/apk/packages").iterdir()}},
    "times": sorted({{path.stat().st_mtime for path in files.rglob("*")}}),
    "under_fakeroot": os.environ.get("FAKED") == "yes",
    "epoch": os.environ.get("SOURCE_DATE_EPOCH"),
}}, open(options["--output"][0], "w"))
"""
FAKEROOT = """#!/bin/sh
[ "$1" = -l ] && [ "$3" = -f ] && [ -e "$2" ] && [ -e "$4" ] || exit 9
shift 4
FAKED=yes exec "$@"
"""


def _sdk(folder: Path, apk: str = APK) -> Path:
    host = folder / "staging_dir/host"
    for name, text in (
        ("bin/apk", apk),
        ("bin/fakeroot", FAKEROOT),
        ("bin/faked", ""),
        ("lib/libfakeroot.so", ""),
    ):
        file = host / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def apks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the name of the package's file, the arguments of apk."""
    output = tmp_path_factory.mktemp("apk")
    sdk = Sdk.find(_sdk(tmp_path_factory.mktemp("sdk")))
    build(output, DOWNLOADS, TIME, sdk)
    return {file.name: json.loads(file.read_text()) for file in output.rglob("*.apk")}


@pytest.fixture
def daemon(apks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The daemon's package."""
    return apks[f"stripe-payments-{__version__}-r1.apk"]


def test_every_package_is_built(apks: dict[str, dict[str, Any]]) -> None:
    assert sorted(apks) == [
        f"luci-app-stripe-payments-{__version__}-r1.apk",
        f"luci-i18n-stripe-payments-it-{__version__}-r1.apk",
        "python3-stripe-16.1.0-r1.apk",
        f"python3-ubus-py-{ubus_py.__version__}-r1.apk",
        f"stripe-payments-{__version__}-r1.apk",
        f"stripe-payments-features-{__version__}-r1.apk",
        f"stripe-payments-hub-{__version__}-r1.apk",
    ]


def test_fields(daemon: dict[str, Any]) -> None:
    info = daemon["info"]
    assert {name: info[name] for name in ("name", "version", "arch", "license")} == {
        "name": "stripe-payments",
        "version": f"{__version__}-r1",
        "arch": "noarch",
        "license": "Apache-2.0",
    }
    assert set(info["depends"].split()) == DEPENDS["stripe-payments"]
    assert info["provides"] == "stripe-payments-any"
    assert "\n" not in info["description"]


def test_what_is_built_of_one_source_says_so(apks: dict[str, dict[str, Any]]) -> None:
    assert [reported["info"]["origin"] for file, reported in sorted(apks.items())] == [
        "luci-app-stripe-payments",
        "luci-app-stripe-payments",
        "python3-stripe",
        "python3-ubus-py",
        "stripe-payments",
        "stripe-payments",
        "stripe-payments",
    ]


def test_files_belong_to_root_and_bear_the_release_s_time(apks: dict[str, dict[str, Any]]) -> None:
    for reported in apks.values():
        assert reported["under_fakeroot"]
        assert reported["times"] == [TIME]
        assert reported["epoch"] == str(TIME)


def test_the_files_are_those_of_the_other_format(apks: dict[str, dict[str, Any]], installed: Path) -> None:
    reported: dict[str, int] = {}
    for package in apks.values():
        reported |= {path: mode for path, mode in package["files"].items() if "lib/apk" not in path}
    assert reported == {
        str(path.relative_to(installed)): path.stat().st_mode & 0o7777
        for path in installed.rglob("*")
        if path.is_file()
    }


def test_openwrt_s_scripts_find_user_files_and_configuration(daemon: dict[str, Any]) -> None:
    records = daemon["records"]
    assert records["stripe-payments.rusers"] == "stripe-payments:stripe-payments\n"
    installed = {f"/{path}" for path in daemon["files"]} - {
        f"/lib/apk/packages/stripe-payments.{record}" for record in ("list", "conffiles", "conffiles_static")
    }
    assert "/etc/init.d/stripe-payments" in installed
    assert "/lib/apk/packages/stripe-payments.rusers" in installed
    assert records["stripe-payments.list"].splitlines() == sorted(installed)
    conffiles = records["stripe-payments.conffiles"].splitlines()
    assert conffiles == ["/etc/config/stripe-features", "/etc/config/stripe-payments"]
    static = [line.split() for line in records["stripe-payments.conffiles_static"].splitlines()]
    assert [name for name, digest in static] == conffiles
    assert all(len(digest) == 64 for name, digest in static)


FUNCTIONS = """
add_group_and_user() { echo "user of $pkgname"; }
default_postinst() { echo "install $pkgname upgrade=$PKG_UPGRADE"; }
default_prerm() { echo "remove $pkgname"; }
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("post-install", "user of stripe-payments\ninstall stripe-payments upgrade=\n"),
        ("post-upgrade", "user of stripe-payments\ninstall stripe-payments upgrade=1\n"),
        ("pre-deinstall", "remove stripe-payments\n"),
        ("post-deinstall", ""),
    ],
)
def test_scripts(daemon: dict[str, Any], tmp_path: Path, script: str, said: str) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/functions.sh").write_text(FUNCTIONS)
    file = tmp_path / script
    file.write_text(daemon["scripts"][script])
    done = subprocess.run(
        ["/bin/sh", file],
        env={"PATH": os.environ["PATH"], "IPKG_INSTROOT": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


@pytest.mark.parametrize("script", ["post-install", "post-upgrade"])
def test_where_an_image_is_put_together_scripts_may_be_put_off(
    daemon: dict[str, Any], tmp_path: Path, script: str
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/functions.sh").write_text(FUNCTIONS)
    done = subprocess.run(
        ["/bin/sh", "-c", daemon["scripts"][script]],
        env={"PATH": os.environ["PATH"], "IPKG_INSTROOT": str(tmp_path), "IPKG_NO_SCRIPT": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_package_s_own_steps_come_after_openwrt_s(apks: dict[str, dict[str, Any]]) -> None:
    app = apks[f"luci-app-stripe-payments-{__version__}-r1.apk"]["scripts"]
    assert app["post-install"].index("default_postinst") < app["post-install"].index("luci-indexcache")
    for package in apks.values():
        for text in package["scripts"].values():
            assert text.count("#!") == 1
            assert text.startswith("#!/bin/sh\n")


def test_what_is_no_sdk_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"bin/apk is missing: SDK=… must name"):
        Sdk.find(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tools.ipk", "--output", tmp_path / "out", "--sdk", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tools.ipk: ")
    assert "Traceback" not in done.stderr


def test_the_words_of_apk_are_passed_on(tmp_path: Path) -> None:
    broken = _sdk(tmp_path / "sdk", "#!/bin/sh\necho 'ERROR: no such option' >&2\nexit 99\n")
    with pytest.raises(PackageError, match="apk mkpkg: ERROR: no such option"):
        build(tmp_path / "out", DOWNLOADS, TIME, Sdk.find(broken))
