"""The stack itself, with our package set up."""

from tests.interop.openwrt import OpenWrt


def test_a_router_boots_with_our_package_set_up(openwrt: OpenWrt) -> None:
    objects = openwrt.sh("ubus list").split()
    assert {"service", "session", "uci", "stripe-payments.uci", "hotplug.stripe-payments"} <= set(objects)
    assert openwrt.sh("stat -c '%U:%G %a' /etc/stripe-payments") == "stripe-payments:stripe-payments 700\n"
