"""The packages' life on a router of OpenWrt 24.10: opkg installs, upgrades and removes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.package_life import *  # noqa: F403
from tests.interop.packaged_router import OpkgRouter, write_opkg_releases


@pytest.fixture(scope="module")
def releases(staging: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both releases, and the feed."""
    folder = tmp_path_factory.mktemp("releases")
    write_opkg_releases(staging, folder)
    return folder


@pytest.fixture
def router(staging: Path, releases: Path, python_of_the_machine: None) -> Iterator[OpkgRouter]:
    """A router that has never seen the packages."""
    del python_of_the_machine
    if not (staging / "bin/opkg").exists():
        pytest.skip("not run: OPENWRT_STAGING has no bin/opkg")
    router = OpkgRouter(staging, releases)
    try:
        router.start()
        yield router
    finally:
        router.stop()


def test_the_same_release_once_more_restarts_the_daemon(router: OpkgRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    first = router.pid_of("stripe-payments", "daemon")
    router.sh("uci set stripe-payments.main.grace_days=3 && uci commit stripe-payments")

    router.opkg("install --force-reinstall /root/ours/stripe-payments_*.ipk")
    router.wait_until(router.answers, "the daemon answers")
    assert router.pid_of("stripe-payments", "daemon") not in (None, first)
    assert router.sh("uci get stripe-payments.main.grace_days").strip() == "3"
