"""What the package's set-up script makes of a router, also the second time."""

from tests.interop.openwrt import OpenWrt


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
