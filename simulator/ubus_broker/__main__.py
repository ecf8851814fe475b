"""``python -m simulator.ubus_broker -s SOCKET -A ACL_DIR``: ubusd's stand-in as a process; SIGHUP rereads the
ACL files."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from simulator.ubus_broker.broker import UbusBroker


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator.ubus_broker", description=__doc__)
    parser.add_argument(
        "-s", "--socket", type=Path, required=True, help="the unix domain socket to listen on"
    )
    parser.add_argument(
        "-A", "--acl-dir", type=Path, default=Path("/usr/share/acl.d"), help="the folder of ACL files"
    )
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    broker = UbusBroker(options.socket, options.acl_dir)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    await broker.start()
    loop.add_signal_handler(signal.SIGHUP, broker.reload_acl)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await broker.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="ubus_broker: %(message)s")
    asyncio.run(_serve(_arguments()))
