"""Serves the measured method through python3-ubus, the C binding. Imports nothing of ours.

It answers "Invalid argument" unless every declared argument is there and no other, so the object declares
exactly what the measurement sends.
"""

import argparse

import ubus  # type: ignore[import-not-found]


def main() -> None:
    """Serves until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bus", required=True)
    parser.add_argument("--object", required=True)
    parser.add_argument("--method", required=True)
    options = parser.parse_args()
    ubus.connect(options.bus)
    has = {
        "method": lambda call, data: call.reply({"unlocked": True}),
        "signature": {"feature": ubus.BLOBMSG_TYPE_STRING},
    }
    ubus.add(options.object, {options.method: has})
    ubus.loop()


if __name__ == "__main__":
    main()
