"""`make hub-demo`: a vendor's hub, two simulated routers that use it, and a simulated Stripe."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simulator.__main__ import ADDRESS_HELP, HOST_HELP
from simulator.demo import reach
from simulator.hub_processes import INSTANCES, OPERATOR, POLL_AFTER_S, HubProcesses
from simulator.listening import LOOPBACK, Listening
from simulator.stripe_cloud import StripeCloud
from simulator.world import World

DESCRIPTION: Final = Path("build/hub-demo.json")
LUCI: Final = "/cgi-bin/luci"
NAMES: Final = ("A", "B")

BANNER: Final = """
A vendor's hub and two routers of customers, simulated. The Stripe key is with the hub: no router has it.

  console     {console}    login: {operator}   password: {password}    (you, the seller)
  router A    {luci[0]}    login: owner   password: router    (a customer)
  router B    {luci[1]}    login: owner   password: router    (another customer)
  Stripe      {stripe}/    refunds, disputes, the clock, failing webhooks: each a button
  hub         {hub}    {instances} instances and a worker; logs in {logs}
  PostgreSQL  {database}
  {reach}

Three things to try:

  1. Buy the plan "Premium" on router A with the card 4242 4242 4242 4242. Router B shows nothing of it.
     Refund it in the console: within {poll_after} s router A locks.

  2. Block router B in the console: it keeps what it has, and says why it cannot buy.

  3. Kill one instance of the hub (kill -9 {instance}): the other one goes on.

Addresses and logins are also in {description}. Ctrl-C ends it.
"""

PRIVATE_WINDOW: Final = """
  A browser's login belongs to a host name, and both routers have one: open router B in a private window."""

STAYS: Final = """
The demo has ended; its database, its routers and everything bought are removed.
Python's packages stay in .venv for the next time (`make clean` removes them), and PostgreSQL stays installed.
"""


@dataclass(frozen=True)
class HubDemo:
    """What runs; `routers` are those of `NAMES`, enrolled."""

    stripe: StripeCloud
    hub: HubProcesses
    routers: list[World]
    listening: Listening

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        listening: Listening | None = None,
        hub_port: int = 0,
        console_port: int = 0,
        stripe_port: int = 0,
        luci_ports: tuple[int, int] = (0, 0),
    ) -> AsyncIterator[HubDemo]:
        """Returns when both routers are enrolled."""
        luci_src = os.environ.get("LUCI_SRC")
        listening = listening or Listening()
        async with AsyncExitStack() as stack:
            stripe = StripeCloud(validate_answers=True)
            await stripe.start(listening, stripe_port)
            stack.push_async_callback(stripe.stop)
            hub = await stack.enter_async_context(
                HubProcesses(
                    stripe.url,
                    [f"router {name}" for name in NAMES],
                    console_host=listening.hosts[0],
                    port=hub_port,
                    console_port=console_port,
                )
            )
            routers = [
                World(
                    listening=listening,
                    front_port=port,
                    luci_src=Path(luci_src) if luci_src else None,
                    respawn=True,
                    log_times=True,
                    stripe=stripe,
                    hub=(hub.url, code),
                )
                for code, port in zip(hub.codes, luci_ports, strict=True)
            ]
            for router in routers:
                await stack.enter_async_context(router)
            for router in routers:
                await router.wait_until(router.enrolled)
            yield cls(stripe, hub, routers, listening)

    def _addresses(self) -> list[str]:
        """Of the routers' web servers, under two names of this machine: a browser's cookies belong to a name,
        and a login at one router must not end that at the other.
        """
        first, second = (router.front.shown_url for router in self.routers)
        return [first, second.replace("127.0.0.1", "localhost")]

    async def description(self) -> dict[str, Any]:
        """The addresses and logins, for programs."""
        return {
            "hub": self.hub.url,
            "console": self.hub.console,
            "console_login": {"name": OPERATOR, "password": self.hub.password},
            "stripe": self.stripe.account.public_url,
            "routers": [
                {
                    "luci": f"{address}{LUCI}",
                    "socket": str(router.bus_path),
                    "router_id": (await router.bus.call("stripe-payments", "status", {}))["router_id"],
                }
                for router, address in zip(self.routers, self._addresses(), strict=True)
            ],
            "database": self.hub.database,
        }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator.hub_demo", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK, help=HOST_HELP)
    parser.add_argument("--address", help=ADDRESS_HELP)
    parser.add_argument("--port", type=int, default=8080, help="router A's web server; B's is the next one")
    parser.add_argument("--stripe-port", type=int, default=8085, help="the Stripe simulator (%(default)s)")
    parser.add_argument("--hub-port", type=int, default=8000, help="the hub (%(default)s)")
    parser.add_argument("--console-port", type=int, default=8001, help="its console (%(default)s)")
    return parser.parse_args()


async def _demo(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    starting = HubDemo.open(
        listening=Listening.demo(options.host, options.address),
        hub_port=options.hub_port,
        console_port=options.console_port,
        stripe_port=options.stripe_port,
        luci_ports=(options.port, options.port + 1 if options.port else 0),
    )
    async with starting as demo:
        description = await demo.description()
        try:
            _write(description)
            print(_banner(demo, description), flush=True)
            await ended.wait()
            print("\nstopping", flush=True)
        finally:
            DESCRIPTION.unlink(missing_ok=True)
    print(STAYS, flush=True)


def _banner(demo: HubDemo, description: dict[str, Any]) -> str:
    return BANNER.format(
        console=description["console"],
        operator=OPERATOR,
        password=demo.hub.password,
        luci=[router["luci"] for router in description["routers"]],
        stripe=description["stripe"],
        hub=description["hub"],
        instances=INSTANCES,
        logs=demo.hub.folder,
        database=description["database"],
        reach=reach(demo.listening, "hub-demo")
        + ("" if demo.listening.shown == LOOPBACK else PRIVATE_WINDOW),
        poll_after=POLL_AFTER_S,
        instance=demo.hub.processes["serve-2"].pid,
        description=DESCRIPTION,
    )


def _write(description: dict[str, Any]) -> None:
    """Whole or not at all: programs wait for the file."""
    DESCRIPTION.parent.mkdir(exist_ok=True)
    unfinished = DESCRIPTION.with_suffix(".part")
    unfinished.write_text(json.dumps(description, indent=1) + "\n")
    unfinished.replace(DESCRIPTION)


def main() -> None:
    """Run the demo until Ctrl-C."""
    options = _arguments()
    try:
        asyncio.run(_demo(options))
    except OSError as error:
        sys.exit(
            f"The demo could not start: {error}\n"
            "(other ports: make hub-demo PORT=… STRIPE_PORT=… HUB_PORT=… CONSOLE_PORT=…; "
            "HOST= has to be an address of this machine)"
        )


if __name__ == "__main__":
    main()
