"""What each package installs, where and with which mode."""

import subprocess
from pathlib import Path

from tests.packaging.ipk_file import IpkFile
from tools.ipk.makefiles import REPOSITORY

CODE = "usr/lib/stripe-payments"
BUS = "usr/lib/python3-ubus-py"
FEATURES = "usr/share/stripe-payments/features.sh"
EXECUTABLE = 0o755
READABLE = 0o644

# Hotplug scripts and what is sourced are read by a shell, not run: plain files.
FILES_OF_PAYMENTS = {
    "etc/config/stripe-features": READABLE,
    "etc/config/stripe-payments": READABLE,
    "etc/hotplug.d/iface/90-stripe-payments": READABLE,
    "etc/hotplug.d/ntp/90-stripe-payments": READABLE,
    "etc/hotplug.d/stripe-payments/10-log": READABLE,
    "etc/init.d/stripe-payments": EXECUTABLE,
    "etc/uci-defaults/50-stripe-payments": EXECUTABLE,
    "lib/upgrade/keep.d/stripe-payments": READABLE,
    "usr/share/acl.d/stripe-payments.json": READABLE,
    "usr/share/rpcd/ucode/stripe-payments.uc": READABLE,
    "usr/share/stripe-payments/away.html": READABLE,
    "usr/share/stripe-payments/command.uc": READABLE,
    "usr/share/stripe-payments/gateway-mount.sh": READABLE,
    "usr/share/stripe-payments/gateway.uc": READABLE,
    "usr/share/stripe-payments/set-up.sh": EXECUTABLE,
    "usr/share/stripe-payments/watch.sh": READABLE,
}


def _files(package: IpkFile) -> dict[str, int]:
    return {path: mode for path, mode in package.modes().items() if not path.endswith("/")}


def _sources(*folders: str) -> set[str]:
    """The files below `folders`, of those that git knows or would take."""
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}


def test_the_daemon_s_package_has_its_files_with_their_modes(packages: dict[str, IpkFile]) -> None:
    files = _files(packages["stripe-payments"])
    assert {path: mode for path, mode in files.items() if not path.startswith(CODE)} == FILES_OF_PAYMENTS


def test_no_file_for_the_router_is_forgotten(packages: dict[str, IpkFile]) -> None:
    files = set(_files(packages["stripe-payments"])) | {FEATURES}
    assert {name.removeprefix("files/") for name in _sources("files")} == {
        path for path in files if not path.startswith(CODE)
    }


def test_the_daemon_s_code_is_complete_and_only_read(packages: dict[str, IpkFile]) -> None:
    code = {path: mode for path, mode in _files(packages["stripe-payments"]).items() if path.startswith(CODE)}
    expected = {
        f"{CODE}/{name.removeprefix('daemon/').replace('it.po', 'it.mo')}"
        for name in _sources("daemon/stripe_payments")
    }
    assert set(code) == expected
    assert set(code.values()) == {READABLE}


def test_the_bus_library_s_package_is_what_its_wheel_has(packages: dict[str, IpkFile]) -> None:
    assert _files(packages["python3-ubus-py"]) == {
        f"{BUS}/{name.removeprefix('daemon/')}": READABLE
        for name in _sources("daemon/ubus_py")
        if name.endswith((".py", ".typed"))
    }


def test_the_state_of_a_feature_is_read_without_the_daemon(
    packages: dict[str, IpkFile], tmp_path: Path
) -> None:
    """Where `uci` finds no configuration, every feature is locked."""
    package = packages["stripe-payments-features"]
    assert _files(package) == {FEATURES: READABLE}
    package.unpack(tmp_path)
    uci = tmp_path / "uci"
    uci.write_text('#!/bin/sh\n[ "$*" = "-q get stripe-features.bought.unlocked" ] && echo 1\n')
    uci.chmod(0o755)
    program = f". '{tmp_path / FEATURES}'; feature_unlocked bought && ! feature_unlocked other"
    done = subprocess.run(["/bin/sh", "-ec", program], env={"PATH": str(tmp_path)}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_app_s_package_is_its_two_folders(packages: dict[str, IpkFile]) -> None:
    app = "luci-app-stripe-payments/"
    expected = {name.removeprefix(f"{app}root/") for name in _sources(f"{app}root")} | {
        "www/" + name.removeprefix(f"{app}htdocs/") for name in _sources(f"{app}htdocs")
    }
    files = _files(packages["luci-app-stripe-payments"])
    assert set(files) == expected
    assert set(files.values()) == {READABLE}


def test_the_italian_package_is_a_catalog_and_the_language_s_name(packages: dict[str, IpkFile]) -> None:
    assert _files(packages["luci-i18n-stripe-payments-it"]) == {
        "etc/uci-defaults/luci-i18n-stripe-payments-it": READABLE,
        "usr/lib/lua/luci/i18n/stripe-payments.it.lmo": READABLE,
    }


def test_stripe_s_library_lies_in_a_directory_of_its_own(packages: dict[str, IpkFile]) -> None:
    files = _files(packages["python3-stripe"])
    assert all(path.startswith("usr/lib/python3-stripe/stripe/") for path in files)
    assert "usr/lib/python3-stripe/stripe/data/ca-certificates.crt" in files
    assert "usr/lib/python3-stripe/stripe/checkout/_session.py" in files
    assert not any("/params/" in path for path in files), "half of the library is type hints"
    assert set(files.values()) == {READABLE}


def test_nothing_of_the_workshop_is_shipped(packages: dict[str, IpkFile], installed: Path) -> None:
    paths = [path for package in packages.values() for path in package.modes()]
    for word in ("simulator", "/tests/", "__pycache__", ".pyc", ".orig", "~", "README", "Makefile"):
        assert not [path for path in paths if word in path]
    for file in (installed / CODE).rglob("*.py"):
        assert "simulator" not in file.read_text("utf-8").lower(), file


def test_no_path_is_in_two_packages(packages: dict[str, IpkFile]) -> None:
    files = [path for package in packages.values() for path in _files(package)]
    assert len(files) == len(set(files))


def test_no_path_names_a_python_version(packages: dict[str, IpkFile]) -> None:
    for package in packages.values():
        assert not [path for path in package.modes() if "site-packages" in path or "python3." in path]
