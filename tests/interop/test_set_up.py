"""What the package's set-up script makes of a router, also the second time."""

import json

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


def test_set_up_signals_every_process_of_a_name(openwrt: OpenWrt) -> None:
    """While rpcd restarts there are two of it; not every shell's `kill` takes two numbers in one word."""
    openwrt.sh("cp $(command -v sleep) /tmp/rpcd")
    for _ in range(2):  # under nohup this process ignores SIGHUP, and they would, too
        openwrt.background("env", "--default-signal=HUP", "/tmp/rpcd", "600")

    def others() -> int:
        """By their program: rpcd itself forks now and then."""
        return openwrt.sh("ls -l /proc/[0-9]*/exe 2>/dev/null || :").count("/tmp/rpcd")

    openwrt.wait_until(lambda: others() == 2, "two others run")
    openwrt.sh("sh /usr/share/stripe-payments/set-up.sh; rm /tmp/rpcd")
    openwrt.wait_until(lambda: others() == 0, "SIGHUP ended them")
    openwrt.sh("ubus -t 20 wait_for session stripe-payments.uci")


FAILING = """
from stripe_payments import log

def fall(deep):
    if deep:
        fall(deep - 1)
    raise ValueError("the reason " + 2000 * "x")

log.set_up()
print("raw", 2000 * "y", "raw-end", flush=True)
try:
    fall(50)
except ValueError as error:
    log.Log("x").error("it failed", exc=error, method="grant", last="last")
"""


def test_an_entry_of_ours_is_short_enough_for_logd(openwrt: OpenWrt, python_of_the_machine: None) -> None:
    """logd keeps the first 1024 bytes of a line; an entry with an exception fits, its end too."""
    del python_of_the_machine
    program = {
        "command": ["/usr/bin/python3", "-c", FAILING],
        "env": {"PYTHONPATH": "/usr/lib/stripe-payments"},
        "stdout": True,
        "stderr": True,
    }
    service = {"name": "failing", "instances": {"once": program}}
    openwrt.run("ubus", "call", "service", "add", json.dumps(service))
    openwrt.wait_until(lambda: "it failed" in openwrt.log(), "the entry is in the log")
    openwrt.wait_until(lambda: "raw yyy" in openwrt.log(), "the long line is in the log")
    lines = openwrt.log().splitlines()
    assert not any("raw-end" in line for line in lines)
    (entry,) = [line for line in lines if "it failed" in line]
    assert 'error="ValueError: the reason xxx' in entry
    assert "last=last trace=" in entry
    assert entry.endswith('"')
