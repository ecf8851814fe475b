"""The command `payments-hub`, as the vendor types it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import psycopg
from typer.testing import CliRunner, Result

from payments_hub import migrations
from payments_hub.__main__ import app
from payments_hub.operators import Operators
from simulator.postgres import PostgreSQL
from tests.hub.vendor import CATALOG, KEY, Vendor, eventually, free_port


def environment(url: str, folder: Path, api_base: str) -> dict[str, str]:
    key = folder / "key"
    key.write_text(f"{KEY}\n")  # an editor ends the line
    return {
        "DATABASE_URL": url,
        "HUB_URL": "https://hub.example.org/",
        "STRIPE_SECRET_KEY_FILE": str(key),
        "STRIPE_WEBHOOK_SECRET": "whsec_1",
        "HUB_SIGNING_KEY_FILE": str(folder / "signing-keys.json"),
        "STRIPE_API_BASE": api_base,
        "LC_ALL": "C.UTF-8",
    }


async def run(env: dict[str, str], *arguments: str) -> Result:
    """Off the event loop, which the simulated Stripe needs."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments), env=env))


async def succeed(env: dict[str, str], *arguments: str) -> str:
    done = await run(env, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_a_vendor_from_nothing_to_a_router(
    vendor: Vendor, postgres: PostgreSQL, tmp_path: Path
) -> None:
    url = postgres.url(postgres.create_database(), "hub")
    env = environment(url, tmp_path, vendor.cloud.url)
    for _repeated in range(2):
        await succeed(env, "migrate")
    await succeed(env, "keys", "rotate")
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG)
    await succeed(env, "catalog", "check", str(file))
    plan = json.loads(await succeed(env, "catalog", "apply", str(file), "--dry-run", "--json"))
    assert {row["state"] for row in plan["prices"]} == {"found"}, "the vendor's fixture has created them"
    applied = json.loads(await succeed(env, "catalog", "apply", str(file), "--json"))
    assert applied["version"] == 1
    code = json.loads(await succeed(env, "codes", "create", "--note", "serial 4711", "--json"))["code"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT note FROM enrollment_codes").fetchall() == [("serial 4711",)]
    assert code not in await succeed(env, "routers", "list", "--json")


async def test_what_a_router_has_and_why(vendor: Vendor, database_url: str, tmp_path: Path) -> None:
    env = environment(database_url, tmp_path, vendor.cloud.url)
    env["HUB_SIGNING_KEY_FILE"] = str(vendor.hub.config.signing_key_file)
    router = await vendor.router()
    await succeed(env, "routers", "grant", router.id, "backups", "--note", "a gift")
    shown = json.loads(await succeed(env, "routers", "show", router.id, "--json"))
    because = {"unlocked": True, "source": "manual", "plan": "", "until": None, "reason": "granted"}
    assert shown["features"]["backups"] == {"title": "Daily backups", **because, "sources": [because]}
    assert [grant["note"] for grant in shown["grants"]] == ["a gift"]
    assert [(held["router"], held["to"]) for held in shown["assignments"]] == [(router.id, None)]
    assert await router.unlocked() == {"backups"}
    listed = json.loads(await succeed(env, "routers", "list", "--json"))["routers"]
    assert [one["id"] for one in listed] == [router.id]
    await succeed(env, "routers", "sync", router.id)
    await succeed(env, "routers", "revoke", router.id)
    assert (await router.request("GET", "/v1/state")).status_code == 403
    again = await run(env, "routers", "revoke", router.id)
    assert (again.exit_code, "no active router" in again.output) == (1, True)


async def test_operations_of_the_command_line(vendor: Vendor, database_url: str, tmp_path: Path) -> None:
    env = environment(database_url, tmp_path, vendor.cloud.url) | {"SUDO_USER": "otto"}
    env["HUB_SIGNING_KEY_FILE"] = str(vendor.hub.config.signing_key_file)
    router = await vendor.router()
    session = await router.checkout("lifetime_once")
    vendor.cloud.pay(session)
    await router.call("payment_status", payment_id=session)
    text = await succeed(env, "routers", "show", router.id)
    assert f"backups: unlocked (paid) {session}" in text
    refunded = json.loads(await succeed(env, "routers", "refund", router.id, session, "--json"))
    assert (refunded["amount"], refunded["currency"], refunded["status"]) == (4999, "eur", "succeeded")
    assert await router.unlocked() == set()
    made = json.loads(await succeed(env, "routers", "replace", router.id, "--json"))
    new = vendor.caller()
    assert (await new.enroll(made["code"])).json() == {"router_id": made["router_id"]}
    await succeed(env, "routers", "grant", new.id, "backups")
    await succeed(env, "routers", "grant", new.id, "backups", "--end")
    await succeed(env, "routers", "revoke", new.id)
    await succeed(env, "routers", "revoke", new.id, "--undo")
    assert await new.unlocked() == set()
    assert (await vendor.caller().enroll(made["code"])).status_code == 409
    assert await succeed(env, "routers", "unflag", new.id) == "code_reused\n"
    assert json.loads(await succeed(env, "routers", "rotate", new.id, "--json")) == {"routers": 1}
    assert await succeed(env, "routers", "rotate", "--all") == "1\n"
    for neither in ((), (new.id, "--all")):
        assert (await run(env, "routers", "rotate", *neither)).exit_code == 2
    refused = await run(env, "routers", "forget", new.id, "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "not_confirmed")
    gone = json.loads(await succeed(env, "routers", "forget", new.id, "--yes", "--json"))
    assert gone["routers"] == sorted([router.id, new.id])
    password = await succeed(env, "operators", "create", "anna", "--role", "admin", "--generate")
    assert await Operators(vendor.hub.database).log_in("anna", password.strip()) is not None
    assert "anna" in await succeed(env, "operators", "list")
    again = await run(env, "operators", "create", "anna", "--generate", "--json")
    error = json.loads(again.stdout)["error"]
    assert (again.exit_code, error["code"]) == (1, "operator_exists")
    assert error["message"] == "There is an operator “anna” already."
    italian = await run({**env, "LC_ALL": "it_IT.UTF-8"}, "operators", "disable", "otto")
    assert "Non c'è un operatore attivo “otto”" in italian.stderr
    with psycopg.connect(database_url) as connection:
        actors = connection.execute("SELECT DISTINCT actor FROM audit WHERE outcome IS NULL").fetchall()
        rows = connection.execute("SELECT action FROM audit WHERE outcome IS NULL ORDER BY number")
        actions = [action for (action,) in rows.fetchall()]
    assert actors == [("cli:otto",)]
    assert actions[:3] == ["refund", "replace", "grant"]
    assert password.strip() not in str(actions)


async def test_mistakes_are_said_in_words(vendor: Vendor, database_url: str, tmp_path: Path) -> None:
    env = environment(database_url, tmp_path, vendor.cloud.url)
    file = tmp_path / "catalog.toml"
    wrong = {
        "[plans.a": "not a TOML file",
        "[planes.a]\ntitle = 'A'": "unknown table [planes]",
        CATALOG.replace("amount = 499\n", "amount = -1\n"): "amount",
        CATALOG.replace('of = "business"', 'of = "buisness"'): "buisness",
        CATALOG + "\n[options]\npoll_interval = 5\n": "poll_interval",
    }
    for document, says in wrong.items():
        file.write_text(document)
        done = await run(env, "catalog", "apply", str(file))
        assert (done.exit_code, says in done.output) == (1, True), done.output
    for name, value in (("HUB_URL", ""), ("DATABASE_URL", ""), ("STRIPE_SECRET_KEY_FILE", "/nowhere")):
        done = await run({**env, name: value}, "routers", "list")
        assert (done.exit_code, name.removesuffix("_FILE") in done.output) == (1, True), done.output
        assert "Traceback" not in done.output
    done = await run({**env, "HUB_SIGNING_KEY_FILE": "/nowhere"}, "routers", "list")
    assert (done.exit_code, "/nowhere" in done.output) == (1, True), done.output


async def test_one_process_serves_its_listeners_apart_and_stops(
    vendor: Vendor, database_url: str, tmp_path: Path
) -> None:
    env = os.environ | environment(database_url, tmp_path, vendor.cloud.url)
    env["HUB_SIGNING_KEY_FILE"] = str(vendor.hub.config.signing_key_file)
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    ports = {name: free_port() for name in ("routers", "console", "metrics")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "payments_hub", "serve", "--port", str(ports["routers"])),
        *("--console-port", str(ports["console"]), "--metrics-port", str(ports["metrics"])),
        env=env,
    )
    try:
        async with httpx.AsyncClient() as http:

            async def status(listener: str, path: str) -> int:
                try:
                    return (await http.get(f"http://127.0.0.1:{ports[listener]}{path}")).status_code
                except httpx.TransportError:
                    return 0

            answers = {
                ("routers", "/healthz"): 200,
                ("routers", "/console/login"): 404,
                ("routers", "/metrics"): 404,
                ("console", "/console/login"): 200,
                ("console", "/metrics"): 200,
                ("console", "/healthz"): 404,
                ("metrics", "/metrics"): 200,
                ("metrics", "/console/login"): 404,
            }

            async def all_answer() -> bool:
                return {where: await status(*where) for where in answers} == answers

            await eventually(all_answer, "each listener has what is its own")
        shown = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        assert KEY.encode() not in b"".join(shown), "a key in a file is in no process list"
        assert b"STRIPE_SECRET_KEY_FILE" in shown[1]
        process.terminate()
        assert await process.wait() in (0, -signal.SIGTERM)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_two_may_migrate_at_the_same_time(postgres: PostgreSQL, tmp_path: Path) -> None:
    url = postgres.url(postgres.create_database(), "hub")
    env = os.environ | environment(url, tmp_path, "http://127.0.0.1:1")
    env["PYTHONPATH"] = os.pathsep.join(sys.path)

    async def begin() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "payments_hub", "migrate", env=env)

    processes = [await begin() for _ in range(2)]
    assert [await process.wait() for process in processes] == [0, 0]
    revision = max(file.name[:4] for file in (Path(migrations.__file__).parent / "versions").glob("0*.py"))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(revision,)]
