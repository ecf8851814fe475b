"""`make demo`: a simulated router and a simulated Stripe, to use in a browser and from a shell."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from simulator.world import World

BANNER = """
Router OS, simulated: bus, rpcd, web server and the payment daemon; and Stripe, simulated.

  LuCI      {front}/cgi-bin/luci/admin/payments/shop      login: root   password: router
  Stripe    {stripe}/                                     payments, webhooks, clock and faults
  ubus      {bus}
  router /  {root}
  log       {log}

Three things to try:

  1. Open LuCI, log in, buy "Router OS Premium" with the card 4242 4242 4242 4242, and go back to the shop.

  2. Ask the bus, as a shell on the router would ({python} is this demo's own Python):
     export PYTHONPATH=.:daemon
     {python} -m tools.ubus -s {bus} call stripe-payments has '{{"feature":"remote_backup_daily"}}'
     {python} -m tools.ubus -s {bus} listen 'stripe-payments.*'
     cat {root}/etc/config/stripe-features

  3. Make it hard: let Stripe drop every webhook, then buy the plan "Business"; it unlocks all the same.
     curl -d '{{"webhooks":"drop"}}' -H 'Content-Type: application/json' {stripe}/_sim/faults

Ctrl-C ends it{and_removes}.
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8080, help="the router's web server (default: %(default)s)"
    )
    parser.add_argument(
        "--stripe-port", type=int, default=8081, help="the Stripe simulator (default: %(default)s)"
    )
    parser.add_argument(
        "--state", type=Path, help="keep the router's files here (default: a folder removed at the end)"
    )
    return parser.parse_args()


async def _demo(options: argparse.Namespace) -> None:
    luci_src = os.environ.get("LUCI_SRC")
    world = World(
        state=options.state.resolve() if options.state else None,
        front_port=options.port,
        stripe_port=options.stripe_port,
        luci_src=Path(luci_src) if luci_src else None,
        respawn=True,
    )
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    starting = asyncio.create_task(_run_until(world, options, ended))
    await starting


async def _run_until(world: World, options: argparse.Namespace, ended: asyncio.Event) -> None:
    async with world:
        text = BANNER.format(
            front=world.front.url,
            stripe=world.stripe.url,
            bus=world.bus_path,
            root=world.root,
            log=world.root / "var/log/stripe-payments.log",
            python=os.path.relpath(sys.executable),
            and_removes="" if options.state else " and leaves nothing behind",
        )
        sys.stdout.write(text)
        sys.stdout.flush()
        await ended.wait()
        sys.stdout.write("\nstopping\n")


def main() -> None:
    """Runs the demo until Ctrl-C."""
    options = _arguments()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_demo(options))
        except OSError as error:
            sys.exit(f"The demo could not start: {error}\n(another port: make demo PORT=… STRIPE_PORT=…)")


if __name__ == "__main__":
    main()
