"""The runner: limits, failures and impatient people."""

from __future__ import annotations

import asyncio

import pytest

from stripe_payments.diagnostics import Diagnostics
from stripe_payments.diagnostics.checks import CHECKS
from stripe_payments.diagnostics.finding import Check, Finding
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from tests.unit.stripe_payments.harness import Harness, Shop


async def ok(_probes: Probes) -> Finding:
    return Finding("ok", _("Payments are enabled."))


async def hang(_probes: Probes) -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def crash(_probes: Probes) -> Finding:
    raise ZeroDivisionError("a mistake of ours, with sk_test_aSecretNobodyMaySee")


def diagnostics(harness: Harness, *checks: Check) -> Diagnostics:
    assert harness.service is not None
    return Diagnostics(harness.service.situation, checks)


async def test_one_check_that_hangs_or_crashes_spoils_no_other(harness: Harness) -> None:
    await harness.parts()
    checks = (Check("a", ok, 5), Check("hanging", hang, 0.05), Check("crashing", crash, 5), Check("b", ok, 5))
    english = await diagnostics(harness, *checks).run("en")
    italian = await diagnostics(harness, *checks).run("it")
    assert [one["id"] for one in english] == ["a", "hanging", "crashing", "b"]
    assert [one["severity"] for one in english] == ["ok", "error", "error", "ok"]
    assert "0.05 seconds" in english[1]["detail"]
    assert "0.05 secondi" in italian[1]["detail"]
    assert "logread" in english[2]["hint"]
    assert "sk_test" not in str(english)


async def without_storage(_probes: Probes) -> Finding:
    raise PaymentError("ledger_unavailable", reason=_("the storage is full"))


async def test_a_check_that_meets_a_known_error_says_what_that_says(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.parts()
    (italian,) = await diagnostics(harness, Check("storing", without_storage, 5)).run("it")
    assert "la memoria è piena" in italian["detail"]
    assert "Libera spazio" in italian["hint"]
    assert not [record for record in caplog.records if record.exc_info]


async def test_people_who_ask_at_once_share_a_run(shop: Shop) -> None:
    before = len(shop.stripe.requests())
    replies = await asyncio.gather(
        *(shop.harness.call("check", locale=tag) for tag in ("en", "it", "en", "it"))
    )
    assert len(shop.stripe.requests()) - before <= 2  # the prices and the endpoints, once
    assert replies[0]["checks"][0]["detail"] != replies[1]["checks"][0]["detail"]


async def test_a_caller_who_leaves_takes_nothing_away_from_the_others(harness: Harness) -> None:
    await harness.parts()
    release = asyncio.Event()

    async def wait(_probes: Probes) -> Finding:
        await release.wait()
        return Finding("ok", _("Payments are enabled."))

    shared = diagnostics(harness, Check("waiting", wait, 20))
    leaving, staying = asyncio.create_task(shared.run()), asyncio.create_task(shared.run())
    await asyncio.sleep(0)
    leaving.cancel()
    release.set()
    assert (await staying)[0]["severity"] == "ok"


def test_the_ids_are_stable() -> None:
    assert [check.id for check in CHECKS] == [
        "settings",
        "enabled",
        "managed",
        "key",
        "key_permissions",
        "key_mode",
        "dns",
        "connection",
        "ca_bundle",
        "tls",
        "stripe",
        "clock",
        "prices",
        "webhook_endpoint",
        "webhook_deliveries",
        "polling",
        "checkouts",
        "events",
        "effects",
        "payments",
        "subscriptions",
        "ledger",
        "storage",
        "state_directory",
        "settings_helper",
        "gateway",
        "hotplug",
    ]
    assert sum(check.timeout for check in CHECKS if check.timeout > 20) == 0  # the bus gives up after 25 s


async def test_the_settings_language_is_the_default(harness: Harness) -> None:
    await harness.configure("main", locale="it")
    checks = {one["id"]: one for one in (await harness.call("check"))["checks"]}
    assert checks["enabled"]["detail"] == "I pagamenti sono attivi."
