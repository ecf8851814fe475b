"""What opkg reads of each package: fields, dependencies, configuration files, scripts."""

import subprocess
from pathlib import Path

import pytest

import ubus_py
from stripe_payments import __version__
from tests.packaging.ipk_file import IpkFile
from tests.packaging.test_archives import NAMES

DEPENDS = {
    "stripe-payments": {
        "libc",
        *("python3-light", "python3-asyncio", "python3-codecs", "python3-logging", "python3-openssl"),
        *("python3-sqlite3", "python3-urllib", "python3-uuid", "python3-jinja2"),
        *("python3-requests", "python3-stripe", "python3-ubus-py", "stripe-payments-features"),
        *("rpcd", "rpcd-mod-ucode", "uhttpd", "uhttpd-mod-ucode"),
        *("ucode", "ucode-mod-fs", "ucode-mod-socket", "ucode-mod-ubus", "ucode-mod-uci", "jsonfilter"),
    },
    "python3-stripe": {
        "libc",
        *("python3-light", "python3-asyncio", "python3-decimal", "python3-logging", "python3-openssl"),
        *("python3-urllib", "python3-requests", "python3-typing-extensions"),
    },
    "python3-ubus-py": {"libc", "python3-light", "python3-asyncio", "python3-logging"},
    "stripe-payments-features": {"libc"},
    "luci-app-stripe-payments": {"libc", "luci-base", "luci-lib-uqr", "stripe-payments"},
    "luci-i18n-stripe-payments-it": {"libc", "luci-app-stripe-payments"},
}

CONTROL_FILES = {
    "stripe-payments": {"conffiles", "prerm-pkg", "postrm"},
    "stripe-payments-features": set(),
    "python3-stripe": {"postinst-pkg"},
    "python3-ubus-py": {"postinst-pkg"},
    "luci-app-stripe-payments": {"postinst-pkg", "postrm"},
    "luci-i18n-stripe-payments-it": set(),
}


@pytest.mark.parametrize("name", NAMES)
def test_fields(packages: dict[str, IpkFile], name: str) -> None:
    package = packages[name]
    fields = package.fields
    assert fields["Package"] == name
    versions = {"python3-stripe": "16.1.0", "python3-ubus-py": ubus_py.__version__}
    assert fields["Version"] == f"{versions.get(name, __version__)}-r1"
    assert fields["Architecture"] == "all"
    assert fields["Installed-Size"] == str(len(package.data))
    assert fields["License"] == ("MIT" if name == "python3-stripe" else "Apache-2.0")
    assert fields["Maintainer"]
    assert fields["Section"] == ("lang" if "python3" in name else "luci" if "luci" in name else "net")
    assert fields["Description"].strip()
    # Without it OpenWrt makes no user, and the init script refuses to start.
    assert fields.get("Require-User") == (
        "stripe-payments:stripe-payments" if name == "stripe-payments" else None
    )
    assert all(
        line.startswith(" ") or ": " in line for line in package.control_text("control").splitlines()
    ), "a line of the description would be taken for a field"


@pytest.mark.parametrize("name", NAMES)
def test_dependencies(packages: dict[str, IpkFile], name: str) -> None:
    assert packages[name].depends == DEPENDS[name]


@pytest.mark.parametrize("name", NAMES)
def test_control_archive(packages: dict[str, IpkFile], name: str) -> None:
    modes = packages[name].modes(packages[name].control)
    assert set(modes) == {"./", "control", "postinst", "prerm", *CONTROL_FILES[name]} or set(modes) == {
        "/",
        "control",
        "postinst",
        "prerm",
        *CONTROL_FILES[name],
    }
    for file, mode in modes.items():
        if not file.endswith("/"):
            assert mode == (0o644 if file in ("control", "conffiles") else 0o755), file


def test_the_configuration_is_what_an_upgrade_keeps(packages: dict[str, IpkFile]) -> None:
    conffiles = packages["stripe-payments"].control_text("conffiles").splitlines()
    assert conffiles == ["/etc/config/stripe-features", "/etc/config/stripe-payments"]
    modes = packages["stripe-payments"].modes()
    assert all(modes[name.lstrip("/")] == 0o644 for name in conffiles)


def test_a_sysupgrade_keeps_keys_and_ledger(installed: Path) -> None:
    kept = (installed / "lib/upgrade/keep.d/stripe-payments").read_text().split()
    assert kept == ["/etc/stripe-payments/"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("script", "function"), [("postinst", "default_postinst"), ("prerm", "default_prerm")]
)
def test_opkg_s_scripts_do_what_openwrt_s_functions_do(
    packages: dict[str, IpkFile], tmp_path: Path, name: str, script: str, function: str
) -> None:
    """In a root elsewhere too: an image is put together there, on a machine that is no router."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/functions.sh").write_text(f'{function}() {{ echo "{function} $*"; return 7; }}\n')
    file = tmp_path / f"{name}.{script}"
    file.write_text(packages[name].control_text(script))
    done = subprocess.run(
        ["/bin/sh", file, "configure"], env={"IPKG_INSTROOT": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout == f"{function} {file} configure\n"
    assert done.returncode == 7

    (tmp_path / "lib/functions.sh").unlink()
    done = subprocess.run(
        ["/bin/sh", file], env={"IPKG_INSTROOT": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


OWN_SCRIPTS = [
    ("python3-stripe", "postinst-pkg"),
    ("python3-ubus-py", "postinst-pkg"),
    ("stripe-payments", "prerm-pkg"),
    ("stripe-payments", "postrm"),
    ("luci-app-stripe-payments", "postinst-pkg"),
    ("luci-app-stripe-payments", "postrm"),
]


@pytest.mark.parametrize(("name", "script"), OWN_SCRIPTS)
def test_own_scripts_leave_the_machine_that_builds_an_image_alone(
    packages: dict[str, IpkFile], tmp_path: Path, name: str, script: str
) -> None:
    """With nothing on the PATH a command that is run would be missed and said so."""
    file = tmp_path / script
    file.write_text(packages[name].control_text(script))
    variants: list[dict[str, str]] = [{"IPKG_INSTROOT": "/somewhere"}]
    if script != "postinst-pkg":
        variants.append({"PKG_UPGRADE": "1"})
    for environment in variants:
        done = subprocess.run(
            ["/bin/sh", "-u", file],
            env={"IPKG_INSTROOT": "", "PKG_UPGRADE": "0", **environment, "PATH": "/nowhere"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "script"), OWN_SCRIPTS)
def test_own_scripts_end_well_whatever_happens(
    packages: dict[str, IpkFile], tmp_path: Path, name: str, script: str
) -> None:
    """opkg does not remove a package whose script fails. They do run here, with no router to change."""
    file = tmp_path / script
    text = packages[name].control_text(script)
    for folder in ("/etc/", "/var/", "/tmp/", "/usr/"):
        text = text.replace(folder, f"{tmp_path}{folder}")
    file.write_text(text)
    (tmp_path / "usr/share/stripe-payments").mkdir(parents=True)
    (tmp_path / "usr/share/stripe-payments/gateway-mount.sh").write_text("unmount_gateway() { return 1; }\n")
    done = subprocess.run(["/bin/sh", file], env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode == 0
