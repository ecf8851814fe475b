from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from simulator.stripe_cloud import StripeCloud
from stripe_payments.errors import PaymentError
from stripe_payments.ledger import SQLiteTransaction
from stripe_payments.ledger.opening import META_MUST_NOT_LOCK
from stripe_payments.sync import META_REBUILDING
from stripe_payments.sync.archiving import archive
from stripe_payments.sync.fetch import stored_form, units_of
from tests.unit.stripe_payments.engine import ONE_TIME, PATIENCE, Engine, eventually, open_engine

BOUGHT = {"updates", "backups"}


def payment_of(cloud: StripeCloud, session_id: str) -> str:
    intent = cloud.account.get("checkout.session", session_id)["payment_intent"]
    return str(intent)


async def test_a_paid_session_unlocks_with_everything_in_one_transaction(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.checkout()
    before = await engine.reconciler.sync(session_id)
    assert (before.changed, before.ours) == ((), True)
    cloud.pay(session_id)
    outcome = await engine.reconciler.sync(session_id)
    assert set(outcome.changed) == BOUGHT
    assert await engine.unlocked() == BOUGHT
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    assert row.state == "complete"
    assert {reported["feature"] for reported in await engine.emitted("feature")} == BOUGHT
    (payment,) = await engine.emitted("payment")
    assert (payment["status"], payment["amount"], payment["item"]) == ("paid", 4999, "router_os_premium")
    assert engine.effects
    (line,) = (await engine.history.page(locale="it"))["transactions"]
    assert line["description"] == "Router OS Premium per sempre"
    assert (line["amount"], line["currency"], line["status"]) == (4999, "eur", "paid")
    assert line["receipt_url"]


async def test_syncing_again_writes_and_delivers_nothing(engine: Engine) -> None:
    session_id = await engine.buy()
    effects, reported = len(engine.effects), await engine.emitted("feature")
    objects = await engine.ledger.read(lambda tx: tx.objects.get(session_id))
    for _ in range(3):
        outcome = await engine.reconciler.sync(session_id)
        assert outcome.changed == ()
    assert len(engine.effects) == effects
    assert await engine.emitted("feature") == reported
    assert await engine.ledger.read(lambda tx: tx.objects.get(session_id)) == objects


async def test_a_session_without_an_attempt_to_pay_takes_no_room(engine: Engine, cloud: StripeCloud) -> None:
    """Flash is for what was paid: of an offer, its checkout's row says all."""
    session_id = await engine.checkout()
    await engine.reconciler.sync(session_id)

    async def stored() -> bool:
        return await engine.ledger.read(lambda tx: tx.objects.get(session_id)) is not None

    assert not await stored()
    cloud.advance(25 * 3600)
    outcome = await engine.reconciler.sync(session_id)
    assert (outcome.status, outcome.ours) == ("applied", True)
    row = await engine.ledger.read(lambda tx: tx.checkouts.by_session(session_id))
    assert row is not None
    assert row.state == "expired"
    assert not await stored()
    tried = await engine.checkout()
    cloud.pay(tried, card="4000000000000002")
    await engine.reconciler.sync(tried)
    assert await engine.ledger.read(lambda tx: tx.objects.get(tried)) is not None


@pytest.mark.parametrize("through", ["session", "payment_intent", "charge"])
async def test_whatever_id_an_event_names_leads_to_the_purchase(
    engine: Engine, cloud: StripeCloud, through: str
) -> None:
    session_id = await engine.checkout()
    cloud.pay(session_id)
    intent = payment_of(cloud, session_id)
    charge = cloud.account.get("payment_intent", intent)["latest_charge"]
    named = {"session": session_id, "payment_intent": intent, "charge": charge}[through]
    assert set((await engine.reconciler.sync(named)).changed) == BOUGHT


async def test_a_full_refund_locks_and_a_partial_one_does_not(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    part = await engine.refunds.refund(session_id, 999, "requested_by_customer")
    assert (part["amount"], part["currency"]) == (999, "eur")
    assert await engine.unlocked() == BOUGHT
    assert (await engine.status.show(session_id))["status"] == "partially_refunded"
    # the rest, given back in Stripe's Dashboard, noticed by the refund's own id
    await engine.stripe.create("refund", {"payment_intent": payment_of(cloud, session_id)}, "dashboard")
    refund = next(iter(cloud.account.newest_first("refund")))
    outcome = await engine.reconciler.sync(refund["id"])
    assert set(outcome.changed) == BOUGHT
    assert await engine.unlocked() == set()
    assert await engine.reason("backups") == "refunded"
    assert (await engine.status.show(session_id))["status"] == "refunded"
    amounts = sorted(line["amount"] for line in (await engine.history.page())["transactions"])
    assert amounts == [-4000, -999, 4999]


async def test_a_dispute_keeps_until_it_is_lost(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    opened = cloud.dispute(session_id)
    await engine.reconciler.sync(opened["id"])
    assert await engine.unlocked() == BOUGHT
    assert (await engine.status.show(session_id))["status"] == "disputed"
    cloud.dispute(session_id, "lost")
    await engine.reconciler.sync(opened["id"])
    assert await engine.unlocked() == set()
    assert await engine.reason("updates") == "disputed"


async def test_a_dispute_that_was_won_leaves_everything_paid(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    opened = cloud.dispute(session_id)
    await engine.reconciler.sync(session_id)
    cloud.dispute(session_id, "won")
    await engine.reconciler.sync(opened["id"])
    assert await engine.unlocked() == BOUGHT
    assert (await engine.status.show(session_id))["status"] == "paid"


async def test_a_bank_debit_is_pending_until_it_settles(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy(card="bank_debit")
    assert await engine.unlocked() == set()
    assert (await engine.status.show(session_id))["status"] == "pending"
    cloud.advance(15 * 86_400)
    await engine.reconciler.sync(session_id)
    assert await engine.unlocked() == BOUGHT


async def test_a_bank_debit_that_fails_never_unlocks(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy(card="bank_debit_fails")
    cloud.advance(15 * 86_400)
    await engine.reconciler.sync(session_id)
    assert await engine.unlocked() == set()
    shown = await engine.status.show(session_id, "it")
    assert shown["status"] == "failed"
    assert shown["failure"]["reason"] == "debit_failed"
    # and the same thing can be bought again
    assert await engine.checkout() != session_id


async def test_what_another_router_bought_is_not_ours(cloud: StripeCloud, tmp_path: Path) -> None:
    async with open_engine(cloud, tmp_path / "a") as mine, open_engine(cloud, tmp_path / "b") as other:
        await mine.checkout()
        session_id = await other.buy()
        intent = payment_of(cloud, session_id)
        for foreign in (session_id, intent):
            outcome = await mine.reconciler.sync(foreign)
            assert (outcome.status, outcome.ours, outcome.changed) == ("foreign", False, ())
        assert await mine.unlocked() == set()
        assert await mine.ledger.read(lambda tx: tx.objects.get(session_id)) is None


async def test_ids_that_lead_nowhere(engine: Engine) -> None:
    for nothing in ("cs_test_nobody", "pi_nobody", "sub_nobody", "re_nobody"):
        assert (await engine.reconciler.sync(nothing)).status == "missing"
    asked = engine.asked()
    for ignored in ("acct_1", "evt_1", "cus_1", "", "../../etc", "cs_test_x/../../y"):
        assert (await engine.reconciler.sync(ignored)).status == "ignored"
    assert engine.asked() == asked


async def test_an_unreachable_stripe_changes_nothing(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy()
    cloud.set_faults(drop_connection=True)
    with pytest.raises(PaymentError) as raised:
        await engine.reconciler.sync(session_id)
    assert raised.value.code == "stripe_unreachable"
    assert await engine.unlocked() == BOUGHT


async def test_an_old_answer_that_arrives_late_does_not_undo_a_newer_one(
    engine: Engine, cloud: StripeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow fetch was answered before the payment and arrives after that was stored."""
    session_id = await engine.checkout()
    answered, arrives = asyncio.Event(), asyncio.Event()
    retrieve = engine.stripe.retrieve

    async def held_up(object_id: str) -> dict[str, Any] | None:
        answer = await retrieve(object_id)
        monkeypatch.undo()
        answered.set()
        await arrives.wait()
        return answer

    monkeypatch.setattr(engine.stripe, "retrieve", held_up)
    slow = asyncio.create_task(engine.reconciler.sync(session_id))
    async with asyncio.timeout(PATIENCE):
        await answered.wait()
    cloud.pay(session_id)
    assert set((await engine.reconciler.sync(session_id)).changed) == BOUGHT
    arrives.set()
    await slow
    assert await engine.unlocked() == BOUGHT
    stored = await engine.ledger.read(lambda tx: tx.objects.get(session_id))
    assert stored is not None
    assert stored["payment_status"] == "paid"


async def test_a_paid_thing_that_left_the_catalog_stays_unlocked(engine: Engine) -> None:
    await engine.buy()
    prices = {name: price for name, price in engine.settings.prices.items() if name != ONE_TIME}
    engine.change(prices=prices, products={})
    await engine.reconciler.recompute()
    assert await engine.unlocked() == BOUGHT


async def test_flattening_keeps_every_object_once_with_ids_in_place_of_the_others(engine: Engine) -> None:
    session_id = await engine.buy()
    fetched = await engine.stripe.retrieve(session_id)
    assert fetched is not None
    rows = {row["id"]: row for row in stored_form(units_of(fetched, 0.0))}
    intent = fetched["payment_intent"]
    charge = intent["latest_charge"]
    assert set(rows) == {session_id, intent["id"], charge["id"]}
    assert rows[session_id] == {**fetched, "payment_intent": intent["id"]}
    assert rows[intent["id"]] == {**intent, "latest_charge": charge["id"]}
    assert rows[charge["id"]] == charge


async def test_while_a_lost_ledger_is_rebuilt_nothing_locks(cloud: StripeCloud, tmp_path: Path) -> None:
    state = tmp_path / "router"
    async with open_engine(cloud, state) as engine:
        await engine.buy()
        reported = await engine.ledger.read(lambda tx: tx.features.all())
    for leftover in state.glob("ledger.db*"):
        leftover.unlink()
    async with open_engine(cloud, state, rebuilding=True) as engine:
        await engine.ledger.write(lambda tx: tx.features.replace(reported))
        await engine.ledger.write(lambda tx: tx.meta.set(META_MUST_NOT_LOCK, ",".join(sorted(reported))))
        await engine.reconciler.recompute()
        assert await engine.unlocked() == BOUGHT
        engine.run(engine.poller.run())

        async def rebuilt() -> bool:
            return await engine.ledger.read(lambda tx: tx.meta.get(META_REBUILDING)) is None

        await eventually(rebuilt, "the ledger is full again")
        assert await engine.unlocked() == BOUGHT
        assert [line["amount"] for line in (await engine.history.page())["transactions"]] == [4999]


async def test_each_of_many_callers_learns_that_the_payment_is_ours(engine: Engine) -> None:
    """Of many fetches at once, most are overtaken by another one's answer; that makes no object foreign."""
    session_id = await engine.buy()
    outcomes = await asyncio.gather(*(engine.reconciler.sync(session_id, f"asked {n}") for n in range(24)))
    assert [outcome.ours for outcome in outcomes] == [True] * 24
    assert {outcome.status for outcome in outcomes} == {"applied"}


async def test_a_ledger_that_is_rebuilt_delivers_no_old_payments_again(
    cloud: StripeCloud, tmp_path: Path
) -> None:
    state = tmp_path / "router"
    async with open_engine(cloud, state) as engine:
        await engine.subscribe()
        cloud.advance(31 * 86_400)
        await engine.poller.poll_everything()
        assert len(await engine.emitted("payment")) == 2
    (state / "ledger.db").unlink()
    async with open_engine(cloud, state, rebuilding=True) as engine:
        await engine.poller.poll_everything()
        (renewed,) = await engine.emitted("payment")
        page = (await engine.history.page())["transactions"]
    newest, oldest = (row for row in page if row["kind"] == "invoice")
    assert newest["id"] == renewed["id"] != oldest["id"]


async def test_polling_leaves_an_archived_purchase_archived_until_it_is_refunded(
    engine: Engine, cloud: StripeCloud
) -> None:
    session_id = await engine.buy()
    before = engine.reconciler.state
    old = archive(before, before.objects.keys(), engine.settings, kept=0)

    def store_archive(tx: SQLiteTransaction) -> None:
        tx.objects.delete(old.gone)
        tx.objects.put(old.purchases, 0)
        tx.history.put(old.rows)

    await engine.ledger.write(store_archive)
    await engine.reconciler.recompute()
    await engine.poller.poll_everything()
    after = engine.reconciler.state
    assert [raw["object"] for raw in after.objects.values()] == ["stripe_payments.purchase"]
    assert after.history == before.history
    assert await engine.unlocked() == BOUGHT
    await engine.stripe.create("refund", {"payment_intent": payment_of(cloud, session_id)}, "dashboard")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert [row.kind for row in engine.reconciler.state.history] == ["payment", "refund"]
