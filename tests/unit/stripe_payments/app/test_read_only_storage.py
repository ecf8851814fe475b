"""A daemon that starts on a read-only storage answers, says why it refuses, and works once it is writable."""

import asyncio
import time
from pathlib import Path

from tests.unit.stripe_payments.full_storage import own_file_system, set_read_only
from tests.unit.stripe_payments.harness import Harness

HEALS_WITHIN_S = 15.0
KEY = "sk_test_51ReadOnlyReadOnly"


async def test_a_start_on_read_only_storage_heals_without_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "router/etc/stripe-payments"
    with own_file_system(state):
        harness = Harness(tmp_path, {"STRIPE_API_BASE": "http://127.0.0.1:9"})
        await harness.start()
        try:
            await harness.call("set_keys", secret_key=KEY)
            await harness.stop_daemon()
            (state / "secrets.json").chmod(0o644)
            set_read_only(state, True)
            await harness.start_daemon()
            for method in ("features", "grant", "set_keys"):
                arguments = {"feature": "phone_support"} if method == "grant" else {}
                refused = await harness.refusal(method, **arguments)
                assert refused["code"] == "ledger_unavailable", method
            checks = {one["id"]: one for one in (await harness.call("check", locale="en"))["checks"]}
            assert checks["ledger"]["severity"] == "error"
            assert all("internal error" not in one["detail"] for one in checks.values())

            await asyncio.sleep(3)  # the pauses between the attempts have grown
            set_read_only(state, False)
            writable = time.monotonic()

            async def works() -> bool:
                assert harness.service is not None
                return harness.service.gate.now is not None

            await harness.until(works)
            await harness.call("grant", feature="phone_support")
            assert time.monotonic() - writable < HEALS_WITHIN_S
        finally:
            await harness.stop()
