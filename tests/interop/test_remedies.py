"""What `check` says to do, done to the letter in the router's shell, ends what it found."""

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest

from tests.interop.openwrt import free_port
from tests.interop.remedies import APPLY, BREAKS, COMMAND
from tests.interop.world import SERVICE, OpenWrtWorld
from ubus_py import CallTimeout, StatusError, UbusError

OWN_MOUNT = (
    "mkdir /tmp/small; mount -t tmpfs -o size=4m,mode=755 small /tmp/small; cp -a {folder}/. /tmp/small; "
    "mount --move /tmp/small {folder}"
)


async def finding(world: OpenWrtWorld, name: str) -> dict[str, Any]:
    reply: Any = await world.bus.call("stripe-payments", "check", {"locale": "en"})
    (found,) = (one for one in reply["checks"] if one["id"] == name)
    return dict(found)


async def follow(world: OpenWrtWorld, name: str, says: str) -> None:
    """Wait until `check` finds it, run the command that it names, and wait until it is content."""

    async def found() -> bool:
        with suppress(UbusError):  # ubusd may just be restarting
            one = await finding(world, name)
            return not one["ok"] and says in one["detail"]
        return False

    async def content() -> bool:
        with suppress(StatusError, CallTimeout):  # it may just be restarting
            return bool((await finding(world, name))["severity"] == "ok")
        return False

    await world.wait_until(found)
    hint = (await finding(world, name))["hint"]
    command = COMMAND.search(hint)
    assert command, hint
    await asyncio.to_thread(world.openwrt.sh, command[1])
    await world.wait_until(content)


@pytest.mark.parametrize("name", BREAKS)
async def test_the_command_of_a_finding_ends_it(world: OpenWrtWorld, name: str) -> None:
    check, command, says = BREAKS[name]
    await asyncio.to_thread(world.openwrt.sh, command)
    await follow(world, check, says)


async def test_a_port_that_another_program_uses_is_named_with_it(world: OpenWrtWorld) -> None:
    port = free_port()
    server = f"python3 -m http.server {port} --bind 127.0.0.1 >/dev/null 2>&1 & echo $!"
    process = world.openwrt.sh(server).strip()
    world.openwrt.wait_until(
        lambda: world.openwrt.run("curl", "-s", f"http://127.0.0.1:{port}").returncode == 0, "it listens"
    )
    world.openwrt.sh(f"uci add_list stripe-payments.main.listen=127.0.0.1:{port}; {APPLY}")

    async def named() -> bool:
        return f"127.0.0.1:{port} is used by python3" in (await finding(world, "gateway"))["detail"]

    await world.wait_until(named)
    hint = (await finding(world, "gateway"))["hint"]
    assert hint.startswith("Stop that program")
    world.openwrt.sh(f"kill {process}; while [ -d /proc/{process} ]; do sleep 0.1; done")
    command = COMMAND.search(hint)
    assert command
    world.openwrt.sh(command[1])

    async def open_again() -> bool:
        with suppress(StatusError, CallTimeout):
            return bool((await finding(world, "gateway"))["severity"] == "ok")
        return False

    await world.wait_until(open_again)


async def test_a_certificate_that_cannot_be_read_is_named(world: OpenWrtWorld) -> None:
    files = "/tmp/gateway.crt", "/tmp/gateway.key"
    cert, key = (
        f"uci set stripe-payments.main.{name}={path}"
        for name, path in zip(("cert", "key"), files, strict=True)
    )
    listen = f"uci add_list stripe-payments.main.listen=127.0.0.1:{free_port()}"
    await asyncio.to_thread(world.openwrt.sh, f"{listen}; {cert}; {key}; {APPLY}")

    async def named() -> bool:
        return "certificate or key cannot be read" in (await finding(world, "gateway"))["detail"]

    await world.wait_until(named)
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=router"
    await asyncio.to_thread(world.openwrt.sh, f"{request} -out {files[0]} -keyout {files[1]} 2>/dev/null")
    command = COMMAND.search((await finding(world, "gateway"))["hint"])
    assert command
    await asyncio.to_thread(world.openwrt.sh, command[1])

    async def open_again() -> bool:
        with suppress(StatusError, CallTimeout):
            found = await finding(world, "gateway")
            return found["severity"] == "ok" and "127.0.0.1" in found["detail"]
        return False

    await world.wait_until(open_again)


async def test_the_clients_that_hold_the_public_gateways_slots_are_shown(world: OpenWrtWorld) -> None:
    """As by its hint; in place of a firewall's rule they are closed here."""
    port = free_port()
    await asyncio.to_thread(
        world.openwrt.sh, f"uci add_list stripe-payments.main.listen=127.0.0.1:{port}; {APPLY}"
    )
    head = b"POST /api/payments/webhook HTTP/1.1\r\nHost: r\r\nContent-Length: 600\r\n\r\n{"

    async def hold() -> None:
        """Another connection as soon as the gateway ends one."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(head)
                    await reader.read()
                finally:
                    writer.close()
                    await writer.wait_closed()
            await asyncio.sleep(0.01)

    clients = [asyncio.create_task(hold()) for _ in range(40)]

    async def named() -> bool:
        return "slots of the public gateway are in use" in (await finding(world, "gateway"))["detail"]

    try:
        await world.wait_until(named)
        hint = (await finding(world, "gateway"))["hint"]
        shown = await asyncio.to_thread(world.openwrt.sh, hint.rpartition("shown by: ")[2])
        assert len(re.findall(rf"127\.0\.0\.1:{port}\s+127\.0\.0\.1:\d+", shown)) >= 32
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def free() -> bool:
        return bool((await finding(world, "gateway"))["severity"] == "ok")

    await world.wait_until(free)


async def test_without_ucode_mod_socket_luci_and_the_gateway_serve_and_check_says_what_is_missing(
    world: OpenWrtWorld,
) -> None:
    """OpenWrt 24.10.0 does not have it, and an image may leave it out: an `import` would end uhttpd."""
    module = "/usr/lib/ucode/socket.so"
    restart = "service uhttpd restart"
    await asyncio.to_thread(world.openwrt.sh, f"mv {module} /tmp/socket.so; {restart}")
    await asyncio.to_thread(world.openwrt.wait_until, world.openwrt.serves, "LuCI serves")
    webhook = f"curl -s -d '{{}}' {world.front.url}/api/payments/webhook"
    assert '"code"' in await asyncio.to_thread(world.openwrt.sh, webhook)
    found = await finding(world, "gateway")
    assert (found["severity"], "ucode-mod-socket is missing" in found["detail"]) == ("warning", True)
    command = COMMAND.search(found["hint"])
    assert command
    assert command[1] == restart
    await asyncio.to_thread(world.openwrt.sh, f"mv /tmp/socket.so {module}; {command[1]}")
    assert (await finding(world, "gateway"))["severity"] == "ok"


FULL: dict[str, tuple[str, str]] = {
    "/tmp": ("mount -o remount,size=4m /tmp", "changes cannot be passed to UCI"),
    "/etc": (OWN_MOUNT.format(folder="/etc"), "cannot be stored"),
    "/etc/config": (OWN_MOUNT.format(folder="/etc/config"), "/etc/config is full"),
}
"""By the file system that has no free byte: what makes it small, and what the check says."""


@pytest.mark.parametrize("folder", FULL)
async def test_a_full_file_system_is_named_and_heals(world: OpenWrtWorld, folder: str) -> None:
    """The hint's last command names what fills it; that is deleted, and what was granted reaches UCI."""
    small, says = FULL[folder]
    await asyncio.to_thread(world.openwrt.sh, f"{small}; cat /dev/zero >{folder}/filler 2>/dev/null || :")
    await world.bus.call("stripe-payments", "grant", {"feature": "phone_support"})
    found = await finding(world, "storage")
    assert (found["severity"], says in found["detail"]) == ("error", True), found
    commands = found["hint"].partition("see: ")[2]
    shown = await asyncio.to_thread(world.openwrt.sh, commands)
    largest = re.findall(rf"{folder}/\S+", shown)[-1]
    assert largest == f"{folder}/filler"
    await asyncio.to_thread(world.openwrt.sh, f"rm {largest}")
    assert (await finding(world, "storage"))["severity"] == "ok"

    async def stored() -> bool:
        return world.openwrt.run("uci", "-q", "get", "stripe-features.phone_support.unlocked").stdout == "1\n"

    await world.wait_until(stored)


async def test_a_router_that_starts_with_a_read_only_state_says_so_and_heals(world: OpenWrtWorld) -> None:
    """As after a boot with a failing flash: the daemon runs, and `check` names the remedy."""
    folder, service = "/etc/stripe-payments", "service stripe-payments"
    await world.daemon.stop()
    await asyncio.to_thread(
        world.openwrt.wait_until, lambda: world.openwrt.pid_of(SERVICE, "daemon") is None, "it has stopped"
    )
    read_only = f"{OWN_MOUNT.format(folder=folder)}; mount -o remount,ro {folder}; {service} start"
    await asyncio.to_thread(world.openwrt.sh, f"{read_only}; ubus -t 20 wait_for stripe-payments")
    await follow(world, "storage", f"{folder} is read-only")

    async def works() -> bool:
        return bool((await finding(world, "ledger"))["severity"] == "ok")

    async def granted() -> bool:
        try:
            await world.bus.call("stripe-payments", "grant", {"feature": "phone_support"})
        except StatusError:  # a start that the storage stopped is tried again in a moment
            return False
        return True

    await world.wait_until(works)
    await world.wait_until(granted)


async def test_a_slow_script_is_named(world: OpenWrtWorld) -> None:
    """Followed: what is slow runs in the background."""
    script = world.openwrt.root / "etc/hotplug.d/stripe-payments/60-slow"
    script.write_text("sleep 30\n")
    await world.bus.call("stripe-payments", "grant", {"feature": "phone_support"})

    async def named() -> bool:
        found = await finding(world, "hotplug")
        return not found["ok"] and str(script.name) in found["detail"]

    await world.wait_until(named)
    script.write_text("sleep 30 &\n")
    world.openwrt.sh("pkill -f hotplug.d/stripe-payments/60-slow")
    await world.bus.call("stripe-payments", "revoke", {"feature": "phone_support"})
    await asyncio.to_thread(
        world.openwrt.wait_until, lambda: "lock phone_support" in world.openwrt.log(), "the scripts run"
    )

    async def content() -> bool:
        return bool((await finding(world, "hotplug"))["severity"] == "ok")

    await world.wait_until(content)


async def test_an_impossible_port_is_ignored_as_it_is_said(world: OpenWrtWorld) -> None:
    world.openwrt.sh(f"uci add_list stripe-payments.main.listen=:99999; {APPLY}")

    async def named() -> bool:
        return ":99999" in (await finding(world, "settings"))["detail"]

    await world.wait_until(named)
    service = json.loads(world.openwrt.sh('ubus call service list \'{"name":"stripe-payments"}\''))
    assert "99999" not in json.dumps(service)
