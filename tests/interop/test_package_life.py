"""The packages' life on a router: opkg installs, upgrades and removes them; OpenWrt runs their scripts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.openwrt import OpenWrt
from tests.interop.packages import install_feed_packages
from tests.packaging.empty_feed import CONFIGURATION, write_empty_feed
from tests.packaging.ipk_file import IpkFile
from tools.ipk.__main__ import build
from tools.ipk.makefiles import REPOSITORY

OURS = "python3-stripe stripe-payments luci-app-stripe-payments luci-i18n-stripe-payments-it"
MOUNTS = ["/api/payments", "/payment-success", "/payment-cancel"]


class PackagedRouter(OpenWrt):
    """A router with opkg and, in /root, our packages and what they need; nothing of ours is installed."""

    def __init__(self, staging: Path, packages: Path) -> None:
        super().__init__(staging, self._put_packages_there)
        self._opkg = staging / "bin/opkg"
        self._packages = packages

    def _put_packages_there(self, files: Path) -> None:
        install_feed_packages(files)
        (files / "etc/opkg.conf").write_text(CONFIGURATION)
        shutil.copytree(self._packages, files / "root/ours")
        read = {file.name.split("_")[0]: IpkFile.read(file) for file in self._packages.iterdir()}
        write_empty_feed(files / "root/feed", read)

    def opkg(self, command: str) -> str:
        """opkg, where it must not fail."""
        return self.sh(f"{self._opkg} {command} 2>&1")

    def install(self) -> None:
        """All our packages."""
        self.opkg("install /root/feed/*.ipk")
        self.opkg("install " + " ".join(f"/root/ours/{name}_*.ipk" for name in OURS.split()))

    def mounted(self) -> list[str]:
        """What the gateway serves on LuCI's web server."""
        listed = self.sh("uci -q get uhttpd.main.ucode_prefix || :").split()
        return [entry.split("=")[0] for entry in listed if entry.endswith("/gateway.uc")]

    def on_the_bus(self, name: str) -> bool:
        """Whether an object is there."""
        return bool(self.run("ubus", "list", name).stdout.strip())

    def answers(self) -> bool:
        """Whether the daemon does."""
        return self.run("ubus", "-t", "2", "call", "stripe-payments", "status").returncode == 0


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make ipk` fills."""
    folder = tmp_path_factory.mktemp("ipk")
    build(folder, REPOSITORY / "build/download", 1_700_000_000)
    return folder


@pytest.fixture
def router(staging: Path, packages: Path, python_of_the_machine: None) -> Iterator[PackagedRouter]:
    """A router that has never seen the packages."""
    del python_of_the_machine
    if not (staging / "bin/opkg").exists():
        pytest.skip("OPENWRT_STAGING has no bin/opkg")
    router = PackagedRouter(staging, packages)
    try:
        router.start()
        yield router
    finally:
        router.stop()


def test_installed_it_runs_and_removed_it_leaves_luci_as_it_was(router: PackagedRouter) -> None:
    before = router.sh("cat /etc/config/uhttpd")
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    assert "stripe-payments:" in router.sh("cat /etc/passwd")
    assert router.sh("stat -c '%U %a' /etc/stripe-payments").split() == ["stripe-payments", "700"]
    assert router.mounted() == MOUNTS
    assert router.on_the_bus("stripe-payments.uci")
    assert router.sh("uci get luci.languages.it").strip() == "Italiano (Italian)"
    assert router.sh("ls /etc/uci-defaults").split() == [], "what has run is gone"
    assert router.sh("ls /etc/rc.d | grep -c stripe-payments").strip() == "2"
    router.wait_until(router.serves, "LuCI's web server serves")
    health = router.sh(f"curl -s {router.url}/api/payments/health")
    assert '"' in health

    # An administrator has something staged and is not done with it: it is neither published nor in the way.
    router.sh("uci set uhttpd.main.max_requests=9")
    router.opkg("remove luci-i18n-stripe-payments-it luci-app-stripe-payments stripe-payments python3-stripe")
    router.wait_until(lambda: not router.on_the_bus("stripe-payments.uci"), "rpcd has forgotten the helper")
    assert not router.on_the_bus("stripe-payments*")
    assert router.pid_of("stripe-payments", "daemon") is None
    assert router.sh("ls /etc/rc.d").count("stripe-payments") == 0
    assert router.sh("uci changes uhttpd").strip() == "uhttpd.main.max_requests='9'"
    router.sh("uci revert uhttpd")
    assert router.mounted() == []
    assert _options(router.sh("cat /etc/config/uhttpd")) == _options(before)
    router.sh("/etc/init.d/uhttpd restart")
    router.wait_until(router.serves, "LuCI serves without the gateway")
    # opkg keeps what was made here, and the package leaves nothing running or linked.
    assert "identity.json" in router.sh("ls /etc/stripe-payments")
    assert router.run("ls", "/etc/.stripe-payments-uci").returncode != 0
    assert router.run("ls", "/var/run/stripe-payments").returncode != 0

    # Installed once more, it is the same router to Stripe.
    identity = router.sh("cat /etc/stripe-payments/identity.json")
    router.install()
    router.wait_until(router.answers, "the daemon answers again")
    assert router.sh("cat /etc/stripe-payments/identity.json") == identity
    assert router.mounted() == MOUNTS


def test_an_upgrade_restarts_the_daemon_and_keeps_what_is_set(router: PackagedRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    first = router.pid_of("stripe-payments", "daemon")
    router.sh("uci set stripe-payments.main.grace_days=3 && uci commit stripe-payments")

    router.opkg("install --force-reinstall /root/ours/stripe-payments_*.ipk")
    router.wait_until(router.answers, "the daemon answers")
    assert router.pid_of("stripe-payments", "daemon") not in (None, first)
    assert router.sh("uci get stripe-payments.main.grace_days").strip() == "3"
    assert router.mounted() == MOUNTS
    assert router.sh("grep -c ^stripe-payments: /etc/passwd").strip() == "1"


def _options(config: str) -> list[str]:
    """A configuration without the white space and quotes that `uci` writes anew, and without comments."""
    lines = [" ".join(line.replace("'", "").split("#")[0].split()) for line in config.splitlines()]
    return [line for line in lines if line]
