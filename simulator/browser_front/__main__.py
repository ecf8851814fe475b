"""``python -m simulator.browser_front --bus SOCKET --root ROOT --port N``: the front alone, until Ctrl-C.

``LUCI_SRC`` in the environment (or ``--luci-src``) names a LuCI source tree whose client files are then
served instead of the stand-in's.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from simulator.browser_front.server import BrowserFront


async def serve(front: BrowserFront, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await front.start(host, port)
    print(f"LuCI: {front.url}/cgi-bin/luci/", flush=True)
    try:
        await stop.wait()
    finally:
        await front.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="simulator.browser_front", description=__doc__)
    parser.add_argument("--bus", required=True, help="the ubus socket")
    parser.add_argument("--root", required=True, type=Path, help="the simulated router's /")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--luci-src", type=Path, default=os.environ.get("LUCI_SRC"))
    args = parser.parse_args()
    luci_src = Path(args.luci_src) if args.luci_src else None
    asyncio.run(serve(BrowserFront(args.bus, args.root, luci_src), args.host, args.port))


if __name__ == "__main__":
    main()
