"""`make demo`: a simulated router and a simulated Stripe, to use in a browser and from a shell."""

import argparse
import sys
from pathlib import Path

HOST_HELP = (
    "this machine's address for phones and other machines, besides 127.0.0.1; 0.0.0.0 listens on all of them "
    "(default: %(default)s)"
)
ADDRESS_HELP = "host in the links that browsers open, if not HOST (a container's published name)"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8080, help="the router's web server (default: %(default)s)"
    )
    parser.add_argument(
        "--stripe-port", type=int, default=8081, help="the Stripe simulator (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help=HOST_HELP)
    parser.add_argument("--address", help=ADDRESS_HELP)
    parser.add_argument(
        "--state", type=Path, help="keep the router's files here (default: a folder removed at the end)"
    )
    return parser.parse_args()


def main() -> None:
    """Run the demo until Ctrl-C."""
    options = _arguments()
    repository = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(repository), str(repository / "daemon")]
    from simulator import demo  # after the arguments: --help needs nothing but Python

    demo.run(options)


if __name__ == "__main__":
    main()
