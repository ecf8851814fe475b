"""What `make demo` starts and prints."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from simulator.listening import LOOPBACK, Listening, own_address
from simulator.router_shell import install
from simulator.world import World

BANNER = """
Open {luci}

  login   owner  / router    the customer: buys, and sees what they own
          seller / router    you: also refunds, grants, keys, prices (root / router may do everything)
          viewer / router    may look, but not buy

A simulated router (bus, rpcd, web server, and the payment daemon as it is shipped) and a simulated Stripe:

  Stripe    {stripe}/    refunds, disputes, the clock, failing webhooks: each a button
  router    {root}    its /
  ubus      {bus}
  log       {log}
  {reach}

Three things to try:

  1. Log in as owner, buy "Router OS Premium" with the card 4242 4242 4242 4242, and go back to the shop.

  2. In another terminal become the router's shell (ubus, uci, service, reload_config):
     . {shell}
     ubus call stripe-payments has '{{"feature":"remote_backup_daily"}}'
     uci show stripe-features.remote_backup_daily
     service stripe-payments check

  3. Make it hard: on Stripe's page choose Webhooks "lost", then buy the plan "Business"; it still unlocks.

Ctrl-C ends it.
"""

STAYS = """
The demo has ended. {files}
Python's packages stay in .venv for the next time; `make clean` removes them.
"""


def reach(listening: Listening, target: str = "demo") -> str:
    """Who can open the demo, and how to change that."""
    if listening.everywhere:
        return (
            "network   every machine that reaches this one can open it and log in; links lead to "
            f"{listening.shown}"
        )
    if listening.shown != LOOPBACK:
        return f"network   every machine that reaches {listening.shown} can open it and log in"
    return f"network   this machine alone can open it; for a phone: make {target} HOST={own_address() or '…'}"


def run(options: argparse.Namespace) -> None:
    """Run until Ctrl-C; exit with a sentence where it cannot start."""
    try:
        asyncio.run(_demo(options))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(
            f"The demo could not start: {error}\n(other ports: make demo PORT=… STRIPE_PORT=…; "
            "HOST= has to be an address of this machine)"
        )


async def _demo(options: argparse.Namespace) -> None:
    luci_src = os.environ.get("LUCI_SRC")
    listening = Listening.demo(options.host, options.address)
    world = World(
        state=options.state.resolve() if options.state else None,
        listening=listening,
        front_port=options.port,
        stripe_port=options.stripe_port,
        luci_src=Path(luci_src) if luci_src else None,
        respawn=True,
        seller="Example Networks",
        log_times=True,
    )
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with world:
        print(
            BANNER.format(
                luci=f"{world.front.shown_url}/cgi-bin/luci/admin/payments/shop",
                stripe=world.stripe.account.public_url,
                bus=world.bus_path,
                root=world.root,
                log=world.root / "var/log/stripe-payments.log",
                shell=install(world.root, world.bus_path, world.bus_path.parent),
                reach=reach(listening),
            ),
            flush=True,
        )
        await ended.wait()
        print("\nstopping", flush=True)
    files = (
        f"The router's files and Stripe's account stay in {options.state}: `make demo STATE={options.state}` "
        "goes on with them."
        if options.state
        else f"{world.root} and everything bought are removed."
    )
    print(STAYS.format(files=files), flush=True)
