"""`payments-hub webhook ensure`, `import` and `doctor`, against a simulated Stripe and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments_hub.doctor import examine
from payments_hub.operations import Operations
from simulator.postgres import PostgreSQL
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS
from tests.hub.test_command import environment, run, succeed
from tests.hub.test_purchases import PREMIUM, unlocks
from tests.hub.vendor import KEY, Vendor, request_stripe

Env = dict[str, str]


@pytest.fixture
async def quiet(database_url: str, tmp_path: Path) -> AsyncIterator[Vendor]:
    """A vendor whose Stripe has no webhook endpoint yet; its worker would sweep when it likes."""
    async with Vendor.open(database_url, tmp_path, webhooks=False, working=False) as vendor:
        yield vendor


def _env(vendor: Vendor, folder: Path) -> Env:
    env = environment(vendor.hub.config.database_url, folder, vendor.cloud.url)
    return env | {
        "HUB_SIGNING_KEY_FILE": str(vendor.hub.config.signing_key_file),
        "HUB_URL": vendor.url,
        "STRIPE_WEBHOOK_SECRET": "",
    }


async def _endpoints(vendor: Vendor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await request_stripe(vendor.cloud, "get", "webhook_endpoints"))["data"]
    return found


async def test_the_webhook_endpoint_is_created_once_and_corrected(quiet: Vendor, tmp_path: Path) -> None:
    env = _env(quiet, tmp_path)
    secret_file = tmp_path / "webhook-secret"
    ensure = ("webhook", "ensure", "--json")
    made = json.loads(await succeed(env, *ensure, "--secret-file", str(secret_file)))
    (endpoint,) = await _endpoints(quiet)
    assert (made["action"], made["url"]) == ("created", f"{quiet.url}/stripe/webhook")
    assert (endpoint["url"], set(endpoint["enabled_events"])) == (made["url"], set(WEBHOOK_EVENTS))
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    secret = secret_file.read_text().strip()
    assert secret.startswith("whsec_")
    assert secret not in json.dumps(made)

    env["STRIPE_WEBHOOK_SECRET"] = secret
    again = json.loads(await succeed(env, *ensure))
    assert (again["action"], again["secret_is_known"], "secret" in again) == ("unchanged", True, False)
    await request_stripe(
        quiet.cloud,
        "post",
        f"webhook_endpoints/{endpoint['id']}",
        enabled_events=["charge.refunded"],
        disabled=True,
    )
    assert json.loads(await succeed(env, *ensure))["action"] == "updated"
    (corrected,) = await _endpoints(quiet)
    assert (corrected["status"], set(corrected["enabled_events"])) == ("enabled", set(WEBHOOK_EVENTS))

    other = json.loads(await succeed(env | {"STRIPE_WEBHOOK_SECRET": "whsec_other"}, *ensure))
    assert (other["action"], other["removed"]) == ("recreated", [endpoint["id"]])
    assert other["secret"].startswith("whsec_")
    assert len(await _endpoints(quiet)) == 1

    live = env | {"HUB_URL": "http://hub.example.org", "STRIPE_SECRET_KEY_FILE": ""}
    refused = await run(live | {"STRIPE_SECRET_KEY": "sk_live_51Vendor"}, *ensure)
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "insecure_url")

    unwritable = await run(env, *ensure, "--recreate", "--secret-file", "/proc/nowhere/secret")
    assert unwritable.exit_code == 1
    assert [one["id"] for one in await _endpoints(quiet)] == [other["id"]], "the new one is deleted again"


async def test_routers_of_direct_mode_are_imported(quiet: Vendor, tmp_path: Path) -> None:
    ids = [f"{number:032x}" for number in range(3)]
    for number, router_id in enumerate(ids):
        await request_stripe(
            quiet.cloud,
            "post",
            "customers",
            email=f"buyer{number}@example.org",
            metadata={"router_id": router_id},
        )
    await request_stripe(quiet.cloud, "post", "customers", email="somebody@example.org")
    await request_stripe(quiet.cloud, "post", "customers", metadata={"router_id": "not one of ours"})
    sold = await quiet.router()
    await sold.checkout("lifetime_once")  # the hub's own customer
    catalog = await quiet.hub.catalogs.current()
    (oldest, *_others) = (await request_stripe(quiet.cloud, "get", "customers"))["data"][::-1]
    session = await request_stripe(
        quiet.cloud,
        "post",
        "checkout/sessions",
        mode="payment",
        customer=oldest["id"],
        line_items=[{"price": catalog.settings.prices["lifetime_once"].price_id, "quantity": 1}],
        success_url="http://192.168.1.1/",
        client_reference_id=ids[0],
        metadata={"router_id": ids[0], "price": "lifetime_once", "item": "lifetime"},
        payment_intent_data={"metadata": {"router_id": ids[0]}},
    )
    quiet.cloud.pay(session["id"])

    env = _env(quiet, tmp_path)
    planned = json.loads(await succeed(env, "import", "--dry-run", "--json"))
    assert sorted(one["account"] for one in planned["routers"]) == ids
    assert {one["code"] for one in planned["routers"]} == {None}
    assert await quiet.hub.routers.find("direct mode") == []
    done = json.loads(await succeed(env, "import", "--json"))
    assert done["complete"]
    codes = {one["account"]: one["code"] for one in done["routers"]}
    assert sorted(codes) == ids
    assert len(set(codes.values())) == 3
    router = quiet.caller()
    assert (await router.enroll(codes[ids[0]])).status_code == 201
    assert await router.unlocked() == PREMIUM, "bought in direct mode"
    await unlocks(router, PREMIUM)
    again = json.loads(await succeed(env, "import", "--json"))
    assert (again["routers"], again["known"]) == ([], 4)
    (found,) = await Operations(quiet.hub, "cli:root").find("buyer1@example.org")
    assert (found["account"], found["status"]) == (ids[1], "prepared")


async def test_a_sound_installation_and_what_is_wrong_with_others(
    quiet: Vendor, tmp_path: Path, postgres: PostgreSQL
) -> None:
    env = _env(quiet, tmp_path)
    made = json.loads(await succeed(env, "webhook", "ensure", "--json"))
    env["STRIPE_WEBHOOK_SECRET"] = made["secret"]
    os.chmod(tmp_path / "key", 0o600)
    await quiet.hub.worker.sweep()
    config = replace(quiet.hub.config, webhook_secret=made["secret"], hub_url=quiet.url)

    async def severities(changed: Any = config, environ: Env | None = None) -> dict[str, str]:
        found = await examine(changed, environ or env)
        for _name, one in found:
            for locale in ("en", "it"):
                assert one.detail.in_locale(locale)
                assert one.hint is not None or one.ok
        return {name: one.severity for name, one in found}

    sound = await severities()
    assert set(sound.values()) == {"ok", "info", "warning"}
    assert [name for name, severity in sound.items() if severity == "warning"] == ["key_permissions"]
    text = await succeed(env, "doctor")
    assert "restricted key" in text
    assert json.loads(await succeed(env, "doctor", "--json"))["checks"][0]["id"] == "signing_key"

    quiet.cloud.api.keys.revoke("sk_test_revoked")
    empty = postgres.url(postgres.create_database(), "hub")
    wrong: dict[str, Any] = {
        "hub_url": replace(config, hub_url="http://127.0.0.1:1"),
        "database": replace(config, database_url="postgresql:///nowhere?host=/nowhere"),
        "signing_key": replace(config, signing_key_file=Path("/nowhere")),
        "webhook": replace(config, webhook_secret="whsec_other"),
        "stripe_key": replace(config, stripe_secret_key="sk_test_revoked"),
        "migrations": replace(config, database_url=empty),
    }
    for name, changed in wrong.items():
        assert (await severities(changed))[name] == "error", name
    superuser = config.database_url.replace("hub@", "postgres@")
    assert (await severities(replace(config, database_url=superuser)))["database"] == "error"
    os.chmod(config.signing_key_file, 0o644)
    assert (await severities())["signing_key"] == "error"
    os.chmod(config.signing_key_file, 0o600)
    os.chmod(tmp_path / "key", 0o604)
    assert (await severities())["secret_files"] == "error"
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO inbox (event_id, type, object_id, received_at, next_attempt)"
            " VALUES ('evt_1', 'charge.refunded', 'ch_1', now() - interval '6 minutes', 'infinity')"
        )
    assert (await severities())["worker"] == "error"
    assert KEY not in str(await examine(config, env))
    failed = await run(env, "doctor", "--json")
    assert failed.exit_code == 1
    assert "Traceback" not in failed.output
