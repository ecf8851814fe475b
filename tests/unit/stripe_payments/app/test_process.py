"""`python -m stripe_payments` as a process of its own: start, signals, a second one, and what it loads."""

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.daemon_process import reload_signal
from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.harness import PATIENCE_S, Harness
from ubus_py import StatusError

REPOSITORY = Path(__file__).resolve().parents[4]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(REPOSITORY / "daemon"),
    "STRIPE_API_BASE": "http://127.0.0.1:9",
}


@contextlib.asynccontextmanager
async def running(
    harness: Harness, *options: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stripe_payments",
        "--bus",
        str(harness.bus_path),
        "--state",
        str(harness.state),
        *options,
        env={**ENVIRONMENT, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """The exit code and the log."""
    log, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, log.decode()


def memory_of(pid: int) -> tuple[int, str]:
    """Resident KiB, and the files that are mapped."""
    status = Path(f"/proc/{pid}/status").read_text()
    (resident,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(resident), Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture
async def empty_harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """Bus and rpcd, without a daemon."""
    harness = Harness(tmp_path)
    await harness.broker.start()
    await harness.router.start()
    await harness.bus.start()
    yield harness
    await harness.stop()


async def test_it_starts_answers_and_stops_cleanly(empty_harness: Harness) -> None:
    harness = empty_harness
    async with running(harness) as process:
        await harness.bus.wait_for("stripe-payments", "stripe-payments.http", timeout=PATIENCE_S)
        status = await harness.call("status")
        assert status["mode"] == "unconfigured"
        assert harness.state.stat().st_mode & 0o777 == 0o700
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0
    assert "part=service msg=stopped" in log
    assert "Traceback" not in log
    assert await harness.bus.lookup("stripe-payments") == []


async def test_it_restarts_after_a_kill_with_the_same_identity(empty_harness: Harness) -> None:
    harness = empty_harness
    async with running(harness) as first:
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        before = await harness.call("status")
        first.kill()
        await ended(first)
    async with running(harness):
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        assert (await harness.call("status"))["router_id"] == before["router_id"]


async def test_a_second_daemon_exits_with_a_message_and_the_first_continues(empty_harness: Harness) -> None:
    harness = empty_harness
    async with running(harness):
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        async with running(harness) as second:
            code, log = await ended(second)
        assert code == 1
        assert "another stripe-payments daemon is using" in log
        assert "Traceback" not in log
        assert (await harness.call("status"))["version"]


async def test_a_reload_during_the_start_neither_ends_the_process_nor_gets_lost(
    empty_harness: Harness,
) -> None:
    """Before Python runs our code, a signal does what is the system's default for it."""
    harness = empty_harness
    await harness.bus.call(
        "uci", "set", {"config": "stripe-payments", "section": "main", "values": {"enabled": "0"}}
    )
    async with running(harness) as process:
        process.send_signal(reload_signal())
        await harness.bus.call("uci", "commit", {"config": "stripe-payments"})
        while not await harness.bus.lookup("stripe-payments"):
            process.send_signal(reload_signal())
            await asyncio.sleep(0.01)
        assert (await harness.call("status"))["enabled"] is False
        assert process.returncode is None


@pytest.mark.parametrize("number", [signal.SIGHUP, reload_signal()])
async def test_a_reload_loads_the_settings_again(empty_harness: Harness, number: signal.Signals) -> None:
    harness = empty_harness
    async with running(harness) as process:
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        assert (await harness.call("status"))["enabled"] is True
        await harness.bus.call(
            "uci", "set", {"config": "stripe-payments", "section": "main", "values": {"enabled": "0"}}
        )
        await harness.bus.call("uci", "commit", {"config": "stripe-payments"})
        process.send_signal(number)

        async def disabled() -> bool:
            return (await harness.call("status"))["enabled"] is False

        await harness.until(disabled)


async def test_ubusd_may_restart(empty_harness: Harness) -> None:
    harness = empty_harness
    async with running(harness):
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        await harness.broker.stop()
        await harness.broker.start()

        async def back() -> bool:
            try:
                return bool((await harness.call("status"))["version"])
            except (ConnectionError, StatusError):
                return False

        await harness.until(back)


async def test_it_waits_for_ubusd_and_for_rpcd(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    try:
        async with running(harness):
            await asyncio.sleep(0.5)
            await harness.broker.start()
            await harness.bus.start()
            await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
            asking = asyncio.create_task(harness.call("status"))
            await asyncio.sleep(0.3)
            assert not asking.done()
            await harness.router.start()
            assert (await asyncio.wait_for(asking, PATIENCE_S))["mode"] == "unconfigured"
    finally:
        await harness.stop()


async def test_callers_get_the_reason_when_the_state_directory_cannot_be_created(
    empty_harness: Harness,
) -> None:
    harness = empty_harness
    harness.state.parent.mkdir(parents=True, exist_ok=True)
    harness.state.write_text("a file in the way")
    async with running(harness) as process:
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        assert (await harness.refusal("status"))["code"] == "ledger_unavailable"
        assert (await harness.http("GET", "/api/payments/health")).error == (503, "ledger_unavailable")
        harness.state.unlink()

        async def working() -> bool:
            return (await harness.http("GET", "/api/payments/health")).status == 200

        await harness.until(working)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == 0


@pytest.mark.parametrize(
    ("base", "code"), [("http://stripe.example", 2), ("ftp://127.0.0.1", 2), ("https://user@a.example", 2)]
)
async def test_an_unencrypted_api_base_is_refused(empty_harness: Harness, base: str, code: int) -> None:
    async with running(empty_harness, STRIPE_API_BASE=base) as process:
        exit_code, log = await ended(process)
    assert exit_code == code
    assert "STRIPE_API_BASE" in log


async def test_keys_of_the_environment_are_used_and_not_logged(empty_harness: Harness) -> None:
    secret = "sk_test_51OfTheEnvironmentAlone"
    async with running(empty_harness, STRIPE_SECRET_KEY=secret) as process:
        await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        assert (await empty_harness.call("status"))["mode"] == "test"
        process.send_signal(signal.SIGTERM)
        _, log = await ended(process)
    assert secret not in log
    assert not (empty_harness.state / "secrets.json").exists()


async def test_the_sdk_does_not_bypass_the_log(empty_harness: Harness) -> None:
    """STRIPE_LOG makes it print every answer; that to a new webhook endpoint has the signing secret."""
    async with StripeCloud() as cloud:
        environment = {"STRIPE_API_BASE": cloud.url, "STRIPE_LOG": "debug"}
        async with running(empty_harness, "--log-level", "debug", **environment) as process:
            await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
            await empty_harness.call("set_keys", secret_key="sk_test_router_os_demo_4eC39HqLyjWDarjtT1zdp7dc")
            await empty_harness.call("setup_webhook", url=f"{cloud.url}/hook")
            process.terminate()
            _, log = await ended(process)
    kept = json.loads((empty_harness.state / "secrets.json").read_text())
    assert kept["webhook_secret"].startswith("whsec_")
    assert 'request="POST /v1/webhook_endpoints"' in log
    assert kept["webhook_secret"] not in log
    assert "API response body" not in log


async def test_a_crash_writes_no_core_file(empty_harness: Harness) -> None:
    async with running(empty_harness) as process:
        await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        assert core == ["0", "0"]
        process.send_signal(signal.SIGABRT)
        code, _ = await ended(process)
    assert code == -signal.SIGABRT


async def test_the_sdk_loads_no_library_for_asynchronous_requests(empty_harness: Harness) -> None:
    """aiohttp, which these tests have installed, would hold 10 MiB after the first request to Stripe."""
    assert importlib.util.find_spec("aiohttp._http_parser") is not None  # compiled, so that it is mapped
    async with StripeCloud() as cloud, running(empty_harness, STRIPE_API_BASE=cloud.url) as process:
        await empty_harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        await empty_harness.call("set_keys", secret_key="sk_test_router_os_demo_4eC39HqLyjWDarjtT1zdp7dc")
        await empty_harness.call("setup_webhook", url=f"{cloud.url}/hook")
        _, mapped = await asyncio.to_thread(memory_of, process.pid)
    assert "aiohttp" not in mapped


async def test_idle_memory_is_small_and_unused_modules_are_not_loaded(empty_harness: Harness) -> None:
    harness = empty_harness
    async with running(harness) as process:
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        await harness.call("features")
        resident_kib, mapped = await asyncio.to_thread(memory_of, process.pid)
    assert resident_kib < 32 * 1024
    assert "markupsafe" not in mapped  # the C part of Jinja2's escaping


def test_nothing_heavy_is_loaded_before_the_bus_connection() -> None:
    heavy = {"stripe", "requests", "urllib3", "jinja2", "markupsafe", "sqlite3", "email", "http"}
    code = "import sys, stripe_payments.__main__; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60
    )
    assert not heavy & set(loaded.stdout.split())


async def test_stop_does_not_wait_for_stripe(empty_harness: Harness) -> None:
    """A Stripe that accepts the connection and never answers must not hold up the shutdown of the router."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    harness = empty_harness
    async with running(
        harness, STRIPE_API_BASE=f"http://127.0.0.1:{port}", STRIPE_SECRET_KEY="sk_test_51Something"
    ) as process:
        await harness.bus.wait_for("stripe-payments", timeout=PATIENCE_S)
        asking = asyncio.create_task(harness.refusal("sync"))
        await asyncio.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _ = await ended(process)
        took = time.monotonic() - began
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    server.close()
    assert code == 0
    assert took < 5  # procd's patience (term_timeout); the call to Stripe would have taken 30 s
