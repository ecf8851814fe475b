"""The world of the flow tests with a real router in it.

ubusd, procd, rpcd, uhttpd and LuCI are those of OpenWrt; files lie where the packages put them; the init
script starts the service. Stripe alone is simulated.
"""

import asyncio
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast

from simulator.browser_front import BrowserFront
from simulator.daemon_process import DaemonProcess
from simulator.router import Router
from simulator.ubus_broker import UbusBroker
from simulator.world import World
from tests.interop.openwrt import OpenWrt
from tests.interop.packages import (
    install_catalogs,
    install_payments,
    install_python_packages,
    point_at_stripe,
)
from ubus_py import Client

SERVICE = "stripe-payments"


class OpenWrtWorld(World):
    """`World` over an `OpenWrt`; `openwrt` is the way to its shell."""

    def __init__(
        self, staging: Path, *, webhooks: bool = True, configured: bool = True, without: tuple[str, ...] = ()
    ) -> None:
        """`without`: files of the router that it is not to have."""
        super().__init__(webhooks=webhooks, configured=configured)
        self.openwrt = OpenWrt(staging, add_viewer)
        self.root = self.openwrt.root
        self._staging = staging
        self._without = without
        # The parts have what the flow tests call, and no more in common with the simulated ones.
        self._daemon = cast(DaemonProcess, ServiceOfProcd(self.openwrt))
        self.broker = cast(UbusBroker, Ubusd(self.openwrt))
        self.router = cast(Router, Rpcd(self.openwrt))
        self.bus = Client(self.openwrt.bus)
        self.bus_path = Path(self.openwrt.bus)

    def _install(self) -> None:
        """On the running router, as opkg does it."""
        install_catalogs(self.root, self._staging)
        install_python_packages(self.root)
        point_at_stripe(self.root, self.stripe.url)
        for name in self._without:
            (self.root / name).unlink()
        install_payments(self.root)
        set_up_payments(self.openwrt)

    async def start(self) -> None:
        """Boots the router, sets the package up, starts the service; returns when it sells."""
        await self.stripe.start()
        await asyncio.to_thread(self.openwrt.start)
        self.front = cast(BrowserFront, Uhttpd(self.openwrt))
        await asyncio.to_thread(self._install)
        await self.bus.start()
        await asyncio.to_thread(self.openwrt.sh, "/etc/init.d/stripe-payments start")
        await self.daemon_answers()
        if self._configured:
            await self.set_payments_up()

    async def stop(self) -> None:
        """Cuts the power."""
        await self.bus.close()
        await asyncio.to_thread(self.openwrt.stop)
        await self.stripe.stop()
        self._runtime.rmdir()


class Uhttpd:
    """LuCI's web server."""

    def __init__(self, openwrt: OpenWrt) -> None:
        self._openwrt = openwrt
        self.url = openwrt.url

    async def restart(self) -> None:
        """Through its init script; returns when it takes connections."""
        await asyncio.to_thread(self._openwrt.sh, "service uhttpd restart")
        await asyncio.to_thread(self._openwrt.wait_until, self._openwrt.serves, "uhttpd serves")


class ServiceOfProcd:
    """The service as procd keeps it: killed, it comes back by itself."""

    def __init__(self, openwrt: OpenWrt) -> None:
        self._openwrt = openwrt

    @property
    def pid(self) -> int | None:
        """The daemon's own process, not the jail's; as the router numbers it."""
        jail = self._openwrt.pid_of(SERVICE, "daemon")
        if jail is None:
            return None
        command = self._openwrt.run("cat", f"/proc/{jail}/comm").stdout.strip()
        inside = self._openwrt.run("cat", f"/proc/{jail}/task/{jail}/children").stdout.split()
        if command.startswith("python"):
            return jail
        return int(inside[0]) if inside else None

    def limit_files(self, size: int | None) -> None:
        """Let the kernel refuse what makes a file of the daemon's larger than `size` bytes; None: no more."""
        soft = "unlimited" if size is None else size
        # As the daemon's own user: even root may not, where it lacks a capability.
        done = self._openwrt.run("prlimit", "--pid", str(self.pid), f"--fsize={soft}:", user=SERVICE)
        assert done.returncode == 0, done.stderr

    async def kill(self) -> None:
        """SIGKILL to the daemon; returns when it is gone."""

        def kill() -> None:
            pid = self.pid
            if pid is not None:
                self._openwrt.sh(
                    f"kill -{signal.SIGKILL} {pid}; while [ -d /proc/{pid} ]; do sleep 0.05; done"
                )

        await asyncio.to_thread(kill)

    async def start(self) -> None:
        """By procd alone."""

    async def stop(self, *, patience_s: float = 10.0) -> None:
        """Through the init script."""
        del patience_s
        await asyncio.to_thread(self._openwrt.sh, "/etc/init.d/stripe-payments stop")

    def log_text(self) -> str:
        """The system log."""
        return self._openwrt.log()


class Ubusd:
    """The bus."""

    def __init__(self, openwrt: OpenWrt) -> None:
        self._openwrt = openwrt

    async def stop(self) -> None:
        """As in a crash."""
        await asyncio.to_thread(self._openwrt.sh, "kill -9 $(pidof ubusd)")

    async def start(self) -> None:
        """As the first process of a router starts it again."""
        await asyncio.to_thread(restart_bus, self._openwrt)


class Rpcd:
    """What LuCI and the privileged helper live in."""

    def __init__(self, openwrt: OpenWrt) -> None:
        self._openwrt = openwrt

    async def stop(self) -> None:
        """Through its init script, so that it stays away."""
        await asyncio.to_thread(self._openwrt.sh, "/etc/init.d/rpcd stop")
        await asyncio.to_thread(self._openwrt.wait_until, self._away, "rpcd is away")

    async def start(self) -> None:
        """And waits until it serves; the helper is a plugin, which it loads after its own objects."""
        await asyncio.to_thread(
            self._openwrt.sh,
            "/etc/init.d/rpcd start; ubus -t 20 wait_for session uci stripe-payments.uci",
        )

    async def stop_procd(self) -> None:
        """It is the first process of a router and cannot end; here it does not answer."""
        await asyncio.to_thread(self._openwrt.sh, "kill -STOP $(pidof procd)")

    async def start_procd(self) -> None:
        """It answers again."""
        await asyncio.to_thread(self._openwrt.sh, "kill -CONT $(pidof procd)")

    def _away(self) -> bool:
        return self._openwrt.run("pidof", "rpcd").returncode != 0


def set_up_payments(openwrt: OpenWrt) -> None:
    """What a package's installation runs after its files lie where they belong."""
    openwrt.sh("sh /etc/uci-defaults/50-stripe-payments")
    openwrt.sh("ubus -t 20 wait_for stripe-payments.uci")
    openwrt.wait_until(lambda: _gateway_answers(openwrt), "uhttpd serves the gateway")


def _gateway_answers(openwrt: OpenWrt) -> bool:
    """The uhttpd from before the set-up takes connections, too, and resets them when it ends."""
    try:
        with urllib.request.urlopen(f"{openwrt.url}/api/payments/health", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 503  # the gateway, without a daemon
    except OSError:
        return False


def restart_bus(openwrt: OpenWrt) -> None:
    """Start ubusd after a crash, and rpcd, which does not come back by itself (procd and logd do)."""
    openwrt.background("ubusd")
    openwrt.wait_until(
        lambda: openwrt.run("ubus", "list", "service").stdout != "", "procd is back on the bus"
    )
    openwrt.sh("/etc/init.d/rpcd restart; ubus -t 20 wait_for session uci")


def add_viewer(files: Path) -> None:
    """A login that may look but not buy, with root's password."""
    shadow = (files / "etc/shadow").read_text().splitlines()
    password = next(line.split(":")[1] for line in shadow if line.startswith("root:"))
    with (files / "etc/config/rpcd").open("a") as config:
        config.write(
            f"\nconfig login\n\toption username 'viewer'\n\toption password '{password}'\n"
            "\tlist read 'unauthenticated'\n\tlist read 'luci-base'\n\tlist read 'luci-app-stripe-payments'\n"
        )


def skip_reason() -> str | None:
    """Why these tests cannot run here, None where they can."""
    if not (os.environ.get("OPENWRT_STAGING") and os.environ.get("LUCI_SRC")):
        return "not run: no OpenWrt stack (OPENWRT_STAGING, LUCI_SRC)"
    if os.geteuid() != 0:
        return "not run: an OpenWrt stack needs root"
    return None
