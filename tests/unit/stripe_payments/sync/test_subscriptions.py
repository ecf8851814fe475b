"""Plans: what is bought on Checkout unlocks and follows its subscription. (Changing one is another story.)"""

from __future__ import annotations

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.engine import MONTHLY, Engine

DAY = 86_400
BOUGHT = {"updates", "backups"}


async def subscription_of(engine: Engine, session_id: str) -> str:
    return str(engine.cloud.account.get("checkout.session", session_id)["subscription"])


async def test_a_plan_unlocks_with_its_invoice_in_the_history(engine: Engine) -> None:
    session_id = await engine.buy(MONTHLY)
    assert await engine.unlocked() == BOUGHT
    (held,) = engine.reconciler.state.subscriptions.values()
    assert (held.status, held.plan, held.price_alias) == ("active", "premium", MONTHLY)
    assert held.current_period_end is not None
    (line,) = (await engine.history.page())["transactions"]
    assert (line["kind"], line["amount"], line["status"]) == ("invoice", 499, "paid")
    assert line["description"]
    assert (await engine.status.show(session_id))["status"] == "paid"
    shown = await engine.status.show(held.id)
    assert (shown["status"], shown["amount"], shown["currency"]) == ("paid", 499, "eur")
    assert (await engine.status.show(line["id"]))["status"] == "paid"


async def test_every_id_of_a_subscription_leads_to_it(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.checkout(MONTHLY)
    cloud.pay(session_id)
    subscription = cloud.account.get("subscription", await subscription_of(engine, session_id))
    outcome = await engine.reconciler.sync(subscription["latest_invoice"])
    assert set(outcome.changed) == BOUGHT


async def test_polling_alone_follows_renewal_failure_grace_and_recovery(
    engine: Engine, cloud: StripeCloud
) -> None:
    await engine.buy(MONTHLY)
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    assert await engine.reason("backups") == "active"
    customer = engine.identity.load().customer
    assert customer is not None
    cloud.change_card(customer, "4000000000000341")
    cloud.advance(31 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    assert await engine.reason("backups") == "grace"
    cloud.advance(8 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()


async def test_a_cancelled_plan_stays_to_its_end_and_then_locks(engine: Engine, cloud: StripeCloud) -> None:
    session_id = await engine.buy(MONTHLY)
    subscription = await subscription_of(engine, session_id)
    await engine.stripe.update("subscription", subscription, {"cancel_at_period_end": True}, "cancel")
    await engine.poller.poll_everything()
    assert await engine.unlocked() == BOUGHT
    assert await engine.reason("updates") == "ending"
    cloud.advance(32 * DAY)
    await engine.poller.poll_everything()
    assert await engine.unlocked() == set()
    assert await engine.reason("updates") == "canceled"
    # and the plan can be bought again
    assert await engine.checkout(MONTHLY)
