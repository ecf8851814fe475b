"""What a process that was taken over could reach: no more than its database role may."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from payments_hub.database import migrate
from payments_hub.database_roles import CONSOLE, ROUTERS, WEBHOOK
from simulator.postgres import PostgreSQL
from stripe_payments.stripe_api import sign
from tests.hub.vendor import Vendor


@pytest.fixture
def urls(postgres: PostgreSQL, template: str) -> Iterator[dict[str, str]]:
    """The same database by role; `owner` too."""
    roles = (ROUTERS, WEBHOOK, CONSOLE)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for role in roles:
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())
    name = postgres.create_database(template)
    migrate(postgres.url(name, "hub"))
    yield {"owner": postgres.url(name, "hub")} | {role: postgres.url(name, role) for role in roles}
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"'.encode())
        for role in roles:
            connection.execute(f"DROP ROLE {role}".encode())


FORBIDDEN = [
    (ROUTERS, "SELECT * FROM inbox"),
    (ROUTERS, "SELECT * FROM operators"),
    (ROUTERS, "SELECT * FROM operator_sessions"),
    (ROUTERS, "SELECT * FROM audit"),
    (ROUTERS, "DELETE FROM login_attempts"),
    (ROUTERS, "DELETE FROM enrollment_attempts"),
    (ROUTERS, "INSERT INTO enrollment_codes (digest, expires_at) VALUES ('', now())"),
    (ROUTERS, "UPDATE enrollment_codes SET expires_at = now()"),
    (ROUTERS, "INSERT INTO grants (account, feature, note) VALUES ('', '', '')"),
    (ROUTERS, "INSERT INTO catalogs (document) VALUES ('')"),
    (ROUTERS, "UPDATE accounts SET id = ''"),
    (ROUTERS, "DELETE FROM accounts"),
    (ROUTERS, "UPDATE credentials SET router = ''"),
    (ROUTERS, "UPDATE outbox SET kind = ''"),
    (ROUTERS, "ALTER TABLE objects DISABLE ROW LEVEL SECURITY"),
    (ROUTERS, "CREATE TABLE public.mine (x int)"),
    (WEBHOOK, "SELECT * FROM inbox"),
    (WEBHOOK, "UPDATE inbox SET outcome = 'applied'"),
    (WEBHOOK, "DELETE FROM inbox"),
    (WEBHOOK, "SELECT * FROM accounts"),
    (WEBHOOK, "SELECT * FROM credentials"),
    (WEBHOOK, "SELECT * FROM objects"),
    (WEBHOOK, "SELECT * FROM stripe_budget"),
    (CONSOLE, "DROP TABLE audit"),
    (CONSOLE, "ALTER TABLE objects DISABLE ROW LEVEL SECURITY"),
]


async def test_each_role_does_its_work_and_nothing_else(urls: dict[str, str], tmp_path: Path) -> None:
    async with (
        Vendor.open(urls["owner"], tmp_path, webhooks=False, working=False) as vendor,
        vendor.instance("routers", database_url=urls[ROUTERS]) as serving,
        vendor.instance("webhook", database_url=urls[WEBHOOK]) as intake,
        vendor.instance("console", database_url=urls[CONSOLE]) as work,
    ):
        router = serving.caller()
        assert (await router.enroll(await work.hub.routers.new_enrollment_code())).status_code == 201
        session = await router.checkout("premium_monthly")
        vendor.cloud.pay(session)
        body = json.dumps(
            {
                "id": "evt_1",
                "type": "checkout.session.completed",
                "livemode": False,
                "data": {"object": {"id": session}},
            }
        ).encode()
        now = int(time.time())
        signed = {"stripe-signature": f"t={now},v1={sign(body, vendor.hub.config.webhook_secret, now)}"}
        for _repeated in range(2):
            reply = await intake.http.post("/stripe/webhook", content=body, headers=signed)
            assert reply.status_code == 200, reply.text
        await work.hub.worker.work()
        assert await router.unlocked() == {"backups", "updates"}
        (plan,) = (await router.state())["en"]["subscriptions"]
        await router.call("change_plan", subscription=plan["id"], price_id="business_monthly")
        assert await work.hub.worker.sweep(behind=0) > 0
        await work.hub.worker.walk.run(pause=0)
        await work.hub.worker.work()
        _age_the_outbox(urls["owner"], router.id)
        assert await work.hub.worker.prune() > 0
        code = (await router.request("POST", "/v1/recovery-codes")).json()["code"]
        successor = serving.caller()
        await successor.enroll(await work.hub.routers.new_enrollment_code())
        assert (await successor.request("POST", "/v1/recovery", {"code": code})).status_code == 200
        await serving.hub.routers.seen({successor.id})
        assert await work.hub.routers.revoke(successor.id)
        for elsewhere, path in (
            (serving, "/stripe/webhook"),
            (intake, "/v1/enrollments"),
            (work, "/v1/enrollments"),
        ):
            assert (await elsewhere.http.post(path)).status_code == 404
        for instance in (serving, intake, work):
            assert (await instance.http.get("/readyz")).json() == {"ok": True, "problems": []}


def _age_the_outbox(url: str, router: str) -> None:
    """What was recorded for the router's account is years old."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT set_config('hub.account', account, false) FROM routers WHERE id = %s", (router,)
        )
        connection.execute("UPDATE outbox SET created_at = now() - interval '3 years'")


def test_a_role_is_refused_what_it_does_not_need(urls: dict[str, str]) -> None:
    for role, statement in FORBIDDEN:
        with psycopg.connect(urls[role]) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_taken_over_instance_cannot_look_at_all_accounts_at_once(urls: dict[str, str]) -> None:
    account = "a" * 32
    with psycopg.connect(urls["owner"]) as connection:
        connection.execute("INSERT INTO accounts (id) VALUES (%s)", (account,))
        connection.execute("SELECT set_config('hub.account', %s, false)", (account,))
        connection.execute("INSERT INTO meta VALUES (%s, 'k', 'v')", (account,))
    for role, setting, seen in (
        (ROUTERS, "*", 0),
        (ROUTERS, account, 1),
        (CONSOLE, "*", 1),
        (CONSOLE, "", 0),
    ):
        with psycopg.connect(urls[role]) as connection:
            connection.execute("SELECT set_config('hub.account', %s, false)", (setting,))
            assert connection.execute("SELECT count(*) FROM meta").fetchone() == (seen,)
