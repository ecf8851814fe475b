"""The stack itself, and what the package's set-up makes of it."""

from tests.interop.openwrt import OpenWrt


def test_a_router_boots_with_our_package_set_up(openwrt: OpenWrt) -> None:
    objects = openwrt.sh("ubus list").split()
    assert {"service", "session", "uci", "stripe-payments.uci", "hotplug.stripe-payments"} <= set(objects)
    assert openwrt.sh("stat -c '%U:%G %a' /etc/stripe-payments") == "stripe-payments:stripe-payments 700\n"


def test_set_up_may_run_again(openwrt: OpenWrt) -> None:
    before = openwrt.sh("cat /etc/passwd /etc/group /etc/config/uhttpd")
    openwrt.sh("sh /usr/share/stripe-payments/set-up.sh")
    assert openwrt.sh("cat /etc/passwd /etc/group /etc/config/uhttpd") == before


def test_set_up_gives_kept_files_to_the_users_new_number(openwrt: OpenWrt) -> None:
    """A sysupgrade keeps /etc/stripe-payments; the user may have another number in the new system."""
    openwrt.sh("echo {} >/etc/stripe-payments/identity.json; chown -R 4711:4711 /etc/stripe-payments")
    openwrt.sh("sh /usr/share/stripe-payments/set-up.sh")
    assert openwrt.sh("stat -c '%U %a' /etc/stripe-payments/identity.json") == "stripe-payments 600\n"
    openwrt.sh("rm /etc/stripe-payments/identity.json")
