"""The packages' life on a router of OpenWrt 24.10: opkg installs, upgrades and removes them."""

from tests.interop.package_life import *  # noqa: F403
from tests.interop.packaged_router import OpkgRouter

ROUTER = OpkgRouter


def test_the_same_release_again_restarts_the_daemon(router: OpkgRouter) -> None:
    router.install()
    router.wait_until(router.answers, "the daemon answers")
    first = router.pid_of("stripe-payments", "daemon")
    router.sh("uci set stripe-payments.main.grace_days=3 && uci commit stripe-payments")

    router.opkg("install --force-reinstall /root/ours/stripe-payments_*.ipk")
    router.wait_until(router.answers, "the daemon answers")
    assert router.pid_of("stripe-payments", "daemon") not in (None, first)
    assert router.sh("uci get stripe-payments.main.grace_days").strip() == "3"
