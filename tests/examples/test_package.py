"""The example is a package that OpenWrt can build."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.examples.router_with_backups import EXAMPLE
from tools.ipk.makefiles import run_makefiles

SCRIPTS = [
    EXAMPLE / "files/usr/sbin/remote-backup",
    EXAMPLE / "files/etc/init.d/remote-backup",
    EXAMPLE / "files/etc/hotplug.d/stripe-payments/50-remote-backup",
]


def test_it_installs_its_files(tmp_path: Path) -> None:
    (package,) = run_makefiles(tmp_path, tmp_path, ("docs/examples/remote-backup",))
    assert package.name == "remote-backup"
    assert "stripe-payments-features" in package.depends
    assert package.conffiles == ("/etc/config/remote-backup",)
    files = {
        str(file.relative_to(package.root)): file.stat().st_mode & 0o777
        for file in package.root.rglob("*")
        if file.is_file()
    }
    assert files == {
        "etc/config/remote-backup": 0o644,
        "etc/hotplug.d/stripe-payments/50-remote-backup": 0o644,
        "etc/init.d/remote-backup": 0o755,
        "lib/upgrade/keep.d/remote-backup": 0o644,
        "usr/sbin/remote-backup": 0o755,
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_its_scripts_are_clean(script: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "--shell=dash", script], capture_output=True, text=True)
    assert done.stdout == ""
