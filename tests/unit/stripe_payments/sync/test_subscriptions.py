"""Plans: what is bought on Checkout unlocks and follows its subscription. (Changing one is another story.)"""

from __future__ import annotations

from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.seller import MONTHLY, Seller

DAY = 86_400
BOUGHT = {"updates", "backups"}


async def subscription_of(seller: Seller, session_id: str) -> str:
    return str(seller.cloud.account.get("checkout.session", session_id)["subscription"])


async def test_a_plan_unlocks_with_its_invoice_in_the_history(seller: Seller) -> None:
    session_id = await seller.buy(MONTHLY)
    assert await seller.unlocked() == BOUGHT
    (held,) = seller.reconciler.state.subscriptions.values()
    assert (held.status, held.plan, held.price_alias) == ("active", "premium", MONTHLY)
    assert held.current_period_end is not None
    (line,) = (await seller.history.page())["transactions"]
    assert (line["kind"], line["amount"], line["status"]) == ("invoice", 499, "paid")
    assert line["description"]
    assert (await seller.status.show(session_id))["status"] == "paid"
    shown = await seller.status.show(held.id)
    assert (shown["status"], shown["amount"], shown["currency"]) == ("paid", 499, "eur")
    assert (await seller.status.show(line["id"]))["status"] == "paid"


async def test_every_id_of_a_subscription_leads_to_it(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.checkout(MONTHLY)
    cloud.pay(session_id)
    subscription = cloud.account.get("subscription", await subscription_of(seller, session_id))
    outcome = await seller.reconciler.sync(subscription["latest_invoice"])
    assert set(outcome.changed) == BOUGHT


async def test_polling_alone_follows_renewal_failure_grace_and_recovery(
    seller: Seller, cloud: StripeCloud
) -> None:
    await seller.buy(MONTHLY)
    cloud.advance(32 * DAY)
    await seller.poller.poll_everything()
    assert await seller.unlocked() == BOUGHT
    assert await seller.reason("backups") == "active"
    customer = seller.identity.load().customer
    assert customer is not None
    cloud.change_card(customer, "4000000000000341")
    cloud.advance(31 * DAY)
    await seller.poller.poll_everything()
    assert await seller.unlocked() == BOUGHT
    assert await seller.reason("backups") == "grace"
    cloud.advance(8 * DAY)
    await seller.poller.poll_everything()
    assert await seller.unlocked() == set()


async def test_a_cancelled_plan_stays_to_its_end_and_then_locks(seller: Seller, cloud: StripeCloud) -> None:
    session_id = await seller.buy(MONTHLY)
    subscription = await subscription_of(seller, session_id)
    await seller.stripe.update("subscription", subscription, {"cancel_at_period_end": True}, "cancel")
    await seller.poller.poll_everything()
    assert await seller.unlocked() == BOUGHT
    assert await seller.reason("updates") == "ending"
    cloud.advance(32 * DAY)
    await seller.poller.poll_everything()
    assert await seller.unlocked() == set()
    assert await seller.reason("updates") == "canceled"
    # and the plan can be bought again
    assert await seller.checkout(MONTHLY)
