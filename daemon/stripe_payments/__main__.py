"""`python -m stripe_payments`: the daemon, as the init script starts it."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Before the other imports, which take a second on a router: by default a SIGHUP would kill the process
    # until the handler is installed. Nothing is lost: the settings are loaded after that (App.run).
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

import argparse
import asyncio
import logging
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Final

from stripe_payments import __version__
from stripe_payments.app import App
from stripe_payments.bytecode import remove_other_releases
from stripe_payments.log import Log, set_up
from stripe_payments.single_instance import AlreadyRunningError
from ubus_py import DEFAULT_SOCKET

NOT_LOADED: Final = ("aiohttp", "anyio", "httpx")
"""HTTP clients for coroutines, which the Stripe SDK imports where they are installed. The daemon calls it in
threads; aiohttp alone takes 10 MiB. https://github.com/stripe/stripe-python: stripe/_http_client.py
"""


def main() -> int:
    """Return 0 after SIGTERM, 1 where another daemon is running, 2 for what a restart cannot repair."""
    options = _options()
    set_up(options.log_level, times=options.log_times)
    for name in NOT_LOADED:  # None: importing it raises ModuleNotFoundError
        sys.modules[name] = None  # type: ignore[assignment]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the keys
    log = Log("service")
    if problem := _api_base_problem():
        log.error("STRIPE_API_BASE is not accepted", problem=problem)
        return 2
    if options.bytecode is not None:
        remove_other_releases(options.bytecode)
    try:
        app = App(options.bus, options.state, sign_of_life=options.alive, private=options.private)
        asyncio.run(app.run(signals=True))
    except AlreadyRunningError as error:
        log.error(str(error), hint="stop it first: /etc/init.d/stripe-payments stop")
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stripe-payments",
        description="Stripe payments for OpenWrt: the daemon behind the ubus object `stripe-payments`.",
    )
    parser.add_argument("--bus", default=DEFAULT_SOCKET, metavar="SOCKET", help="ubusd's (%(default)s)")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("/etc/stripe-payments"),
        metavar="DIR",
        help="keys, identity and ledger; made if missing (%(default)s)",
    )
    parser.add_argument(
        "--alive", type=Path, metavar="FILE", help="where to leave a sign of life, for watch.sh (nowhere)"
    )
    parser.add_argument(
        "--bytecode",
        type=Path,
        metavar="DIR",
        help="where each release has a folder for PYTHONPYCACHEPREFIX; those of other releases go (none)",
    )
    parser.add_argument(
        "--private",
        type=Path,
        metavar="DIR",
        help="that only root and this user may enter: the seller's socket and the init script's mark (none)",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(%(default)s)"
    )
    parser.add_argument(
        "--log-times", action="store_true", help="begin each line of the log with the time, as logd does"
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser.parse_args()


def _api_base_problem() -> str | None:
    base = os.environ.get("STRIPE_API_BASE")
    if not base:
        return None
    from stripe_payments.stripe_api import api_base_problem  # not on a router

    return api_base_problem(base)


if __name__ == "__main__":
    try:
        code = main()
    except Exception:  # noqa: BLE001 - as the interpreter would report it; only the exit differs
        traceback.print_exc()
        code = 1
    # Without joining the worker threads, as the interpreter would: a call that waits 30 s for Stripe must not
    # delay the stop. All that has to be durable is by now.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
