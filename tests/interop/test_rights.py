"""What the daemon's user may do on a real bus: exactly what it needs."""

import json
from collections.abc import Iterator

import pytest

from tests.interop.openwrt import OpenWrt

USER = "stripe-payments"

ALLOWED = [
    ("session", "access", {"ubus_rpc_session": "0" * 32, "scope": "ubus", "object": "a", "function": "b"}),
    ("stripe-payments.uci", "load", {}),
    ("stripe-payments.uci", "store", {"features": {}}),
    ("stripe-payments.uci", "store_prices", {"prices": {}}),
    ("stripe-payments.uci", "web_servers", {}),
    ("stripe-payments.uci", "unlimited_logins", {}),
    ("hotplug.stripe-payments", "call", {"env": ["ACTION=none"]}),
    ("system", "board", {}),
]
DENIED = [
    ("uci", "get", {"config": "network"}),
    ("uci", "set", {"config": "system", "section": "x", "values": {"a": "b"}}),
    ("uci", "commit", {"config": "system"}),
    ("session", "create", {}),
    ("session", "grant", {"ubus_rpc_session": "0" * 32, "scope": "ubus", "objects": [["*", "*"]]}),
    ("session", "login", {"username": "root", "password": "router"}),
    ("session", "get", {"ubus_rpc_session": "0" * 32}),
    ("session", "list", {}),
    ("session", "destroy", {"ubus_rpc_session": "0" * 32}),
    ("service", "list", {}),
    ("service", "set", {"name": "evil", "instances": {"a": {"command": ["/bin/true"]}}}),
    ("service", "delete", {"name": "rpcd"}),
    ("service", "event", {"type": "config.change", "data": {"package": "network"}}),
    ("file", "read", {"path": "/etc/shadow"}),
    ("file", "write", {"path": "/tmp/x", "data": ""}),
    ("file", "exec", {"command": "/bin/true"}),
    ("system", "reboot", {}),
    ("system", "sysupgrade", {}),
    ("hotplug.iface", "call", {"env": ["ACTION=ifup"]}),
    ("hotplug.ntp", "call", {"env": ["ACTION=step"]}),
    ("rc", "init", {"name": "uhttpd", "action": "stop"}),
    ("log", "read", {"lines": 1}),
]


def call(openwrt: OpenWrt, target: str, method: str, arguments: object) -> tuple[int, str]:
    done = openwrt.run("ubus", "call", target, method, json.dumps(arguments), user=USER)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("target", "method", "arguments"), ALLOWED, ids=lambda value: str(value)[:30])
def test_what_it_needs_it_may(openwrt: OpenWrt, target: str, method: str, arguments: object) -> None:
    code, said = call(openwrt, target, method, arguments)
    # a session that does not exist is not found by rpcd, which is an answer of rpcd's
    assert code == 0, said


@pytest.mark.parametrize(("target", "method", "arguments"), DENIED, ids=lambda value: str(value)[:30])
def test_everything_else_is_refused(openwrt: OpenWrt, target: str, method: str, arguments: object) -> None:
    assert openwrt.run("ubus", "list", target).stdout == f"{target}\n", "the test asks for what is not there"
    code, said = call(openwrt, target, method, arguments)
    # To whom no method of an object is allowed it does not exist; otherwise the method is refused.
    assert code in (4, 252, 250), said
    assert "Not found" in said or "Permission denied" in said or "Access denied" in said


def test_it_sees_no_object_that_it_may_not_use(openwrt: OpenWrt) -> None:
    seen = openwrt.run("ubus", "list", user=USER).stdout.split()
    assert set(seen) <= {"session", "stripe-payments.uci", "hotplug.stripe-payments", "system"}


def test_it_sends_only_its_own_events(openwrt: OpenWrt) -> None:
    assert openwrt.run("ubus", "send", "stripe-payments.feature", "{}", user=USER).returncode == 0
    assert openwrt.run("ubus", "send", "network.interface", "{}", user=USER).returncode != 0


@pytest.fixture
def secret_files(openwrt: OpenWrt) -> Iterator[list[str]]:
    openwrt.sh("echo psk >/etc/config/wireless; chmod 600 /etc/config/wireless")
    yield ["/etc/shadow", "/etc/config/wireless"]
    openwrt.sh("rm /etc/config/wireless")


def test_it_reads_no_secret_file(openwrt: OpenWrt, secret_files: list[str]) -> None:
    for path in secret_files:
        assert openwrt.run("cat", path, user=USER).returncode != 0, path


def test_others_do_not_read_what_is_its_own(openwrt: OpenWrt) -> None:
    assert openwrt.run("ls", "/etc/stripe-payments", user="nobody").returncode != 0


def test_no_other_user_gets_the_helper_or_the_http_object(openwrt: OpenWrt) -> None:
    for target in ("stripe-payments.uci", "stripe-payments", "stripe-payments.http"):
        assert openwrt.run("ubus", "call", target, "load", "{}", user="nobody").returncode != 0
