"""``python -m simulator.router --bus SOCKET --root ROOT``: rpcd's and procd's stand-ins as a process."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from simulator.router import Router, prepare_root


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator.router", description=__doc__)
    parser.add_argument("--bus", type=Path, required=True, help="ubusd's socket")
    parser.add_argument("--root", type=Path, required=True, help="the folder that stands for /")
    parser.add_argument("--prepare", action="store_true", help="put the shipped files into it first")
    parser.add_argument("--password", default="router", help="root's password (default: %(default)s)")
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    if options.prepare:
        prepare_root(options.root)
    router = Router(options.bus, options.root, password=options.password)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await router.start()
    await ended.wait()
    await router.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="router: %(message)s")
    asyncio.run(_serve(_arguments()))
