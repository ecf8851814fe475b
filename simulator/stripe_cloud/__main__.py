"""`python -m simulator.stripe_cloud --port 8081 [--state FILE]`: runs until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from . import StripeCloud


async def _serve(options: argparse.Namespace) -> None:
    cloud = StripeCloud(state_file=options.state)
    url = await cloud.start(options.host, options.port, public_url=options.public_url)
    print(f"Stripe simulator at {url}", flush=True)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    await cloud.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="simulator.stripe_cloud", description="A simulated Stripe.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument(
        "--public-url", help="what links point to, if other machines reach it by another address"
    )
    parser.add_argument("--state", type=Path, help="keep all objects in this file")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
