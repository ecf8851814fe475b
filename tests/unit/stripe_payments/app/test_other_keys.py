"""Keys of another mode or account: test and live share nothing at Stripe, and neither may the router."""

from simulator.stripe_cloud import StripeCloud
from stripe_payments.sync.mode_change import META_MODE
from tests.unit.stripe_payments.harness import FEATURE, ONETIME, Shop

LIVE = "sk_live_51TheSameAccountForMoney"


async def customer(shop: Shop) -> str | None:
    found = (await shop.harness.call("status"))["customer"]
    assert found is None or isinstance(found, str)
    return found


async def locked(shop: Shop) -> bool:
    return (await shop.harness.call("has", feature=FEATURE))["unlocked"] is False


async def go_live(shop: Shop) -> None:
    assert await shop.harness.call("set_keys", secret_key=LIVE) == {"mode": "live"}
    await shop.harness.call("provision")
    harness = shop.harness

    async def priced() -> bool:
        price = (await harness.parts()).settings().price(ONETIME)
        return price is not None and shop.stripe.live.find(price.price_id) is not None

    await harness.until(priced)


async def test_a_live_customer_is_created_and_used(shop: Shop) -> None:
    await shop.buy()
    of_test = await customer(shop)
    await go_live(shop)
    session_id = await shop.checkout()
    assert session_id.startswith("cs_live_")
    of_live = await customer(shop)
    assert of_live not in (None, of_test)


async def test_a_purchase_with_a_test_card_unlocks_nothing_with_live_keys(shop: Shop) -> None:
    await shop.buy()
    await go_live(shop)
    await shop.harness.until(lambda: locked(shop))
    assert (await shop.harness.call("transactions"))["transactions"] == []
    catalog = await shop.harness.call("catalog")
    assert not any(price["owned"] for one in catalog["products"] for price in one["prices"])
    await shop.buy()  # it can be bought, for money
    await shop.harness.call("sync")
    assert not await locked(shop)


async def test_live_purchases_stay_unlocked_with_test_keys(shop: Shop) -> None:
    await go_live(shop)
    await shop.buy()
    await shop.harness.call("set_keys", secret_key=shop.account.secret_key)
    await shop.harness.call("sync")
    assert not await locked(shop)
    await shop.harness.call("set_keys", secret_key=LIVE)
    await shop.harness.call("sync")
    assert not await locked(shop)
    [row] = (await shop.harness.call("transactions"))["transactions"]
    assert row["status"] == "paid"


async def test_back_to_test_keys_finds_the_same_customer_and_purchases_again(shop: Shop) -> None:
    session_id = await shop.buy()
    of_test = await customer(shop)
    await go_live(shop)
    await shop.harness.call("set_keys", secret_key=shop.account.secret_key)
    await shop.harness.call("sync")
    assert await customer(shop) == of_test
    features = (await shop.harness.call("features"))["features"]
    assert (features[FEATURE]["unlocked"], features[FEATURE]["source"]) == (True, session_id)


async def test_an_open_checkout_of_the_other_mode_is_not_offered_again(shop: Shop) -> None:
    before = await shop.checkout()
    assert await shop.checkout() == before
    await go_live(shop)
    after = await shop.checkout()
    assert after.startswith("cs_live_")
    assert await shop.checkout() == after


async def test_the_mode_may_change_while_the_daemon_is_stopped(shop: Shop) -> None:
    await shop.buy()
    of_test = await customer(shop)
    await shop.harness.stop_daemon()
    shop.harness.environ["STRIPE_SECRET_KEY"] = LIVE
    await shop.harness.start_daemon()
    await shop.harness.until(lambda: locked(shop))
    assert await customer(shop) is None
    ledger = (await shop.harness.parts()).ledger
    assert await ledger.read(lambda tx: tx.meta.get(META_MODE)) == "live"
    assert of_test is not None


async def test_another_account_of_the_same_mode_has_another_customer(shop: Shop) -> None:
    """Nothing tells two accounts apart but that one does not know the other's customer."""
    session_id = await shop.buy()
    before = await customer(shop)
    async with StripeCloud() as other:
        await shop.harness.stop_daemon()
        shop.harness.environ["STRIPE_API_BASE"] = other.url
        await shop.harness.start_daemon()
        await shop.harness.call("set_keys", secret_key="sk_test_51AnotherAccount")
        await shop.harness.call("sync")
        assert await customer(shop) is None
        await shop.harness.call("provision", replace=True)
        features = (await shop.harness.call("features"))["features"]
        # paid for at an account that is not asked any more: it stays paid for
        assert (features[FEATURE]["unlocked"], features[FEATURE]["source"]) == (True, session_id)
        reply = await shop.harness.call("create_checkout_session", price_id="price_business_monthly")
        assert other.account.find(reply["session_id"]) is not None
        after = await customer(shop)
        assert after not in (None, before)
