"""The methods of `stripe-payments`, called over the simulator's broker, with its rpcd and a real ledger."""

import asyncio
import json
import time

import pytest

from stripe_payments import __version__
from tests.unit.stripe_payments.harness import FEATURE, ONETIME, Harness, Shop
from ubus_py import STRING, Status, StatusError

PUBLISHED = {
    "status": set(),
    "catalog": set(),
    "features": set(),
    "has": {"feature"},
    "subscriptions": {"preview"},
    "transactions": {"limit", "before"},
    "payment_status": {"payment_id"},
    "create_checkout_session": {"price_id", "success_url", "cancel_url"},
    "preview_change": {"subscription", "price_id"},
    "change_plan": {"subscription", "price_id"},
    "cancel_subscription": {"subscription", "at_period_end"},
    "resume_subscription": {"subscription"},
    "portal": {"return_url"},
    "grants": set(),
    "grant": {"feature", "until", "note"},
    "revoke": {"feature"},
    "sync": {"background"},
    "refund": {"payment_id", "amount", "reason"},
    "check": set(),
    "provision": {"dry_run", "replace"},
    "setup_webhook": {"url", "replace"},
    "set_keys": {"secret_key", "webhook_secret", "publishable_key", "dry_run"},
}


async def test_exactly_these_methods_are_published(harness: Harness) -> None:
    (info,) = await harness.bus.lookup("stripe-payments")
    assert {name: set(args) for name, args in info.methods.items()} == {
        name: args | {"locale"} for name, args in PUBLISHED.items()
    }
    assert info.methods["has"]["feature"] == STRING


async def test_status_of_an_unconfigured_router(harness: Harness) -> None:
    status = await harness.call("status")
    assert status["version"] == __version__
    assert status["mode"] == "unconfigured"
    assert status["stripe"] == "unconfigured"
    assert status["webhook"] == "unconfigured"
    assert status["keys"] == {"secret_key": None, "publishable_key": None, "webhook_secret": None}
    assert status["clock"] == "untrusted"
    assert status["customer"] is None
    assert status["last_sync"] is None
    assert len(status["router_id"]) == 32
    assert status["pending"] == {"checkouts": 0, "events": 0, "effects": 0}
    assert status["purchases"] == []


async def test_the_catalog_is_in_the_callers_language(harness: Harness) -> None:
    english, italian = await harness.call("catalog"), await harness.call("catalog", locale="it-IT")
    (product,) = [one for one in english["products"] if one["id"] == "router_os_premium"]
    (price,) = product["prices"]
    assert price["id"] == ONETIME
    assert (price["amount"], price["currency"], price["interval"], price["owned"]) == (
        4999,
        "eur",
        None,
        False,
    )
    assert FEATURE in product["features"]
    assert {plan["id"] for plan in english["plans"]} == {"base", "premium", "business"}
    assert english["features"][FEATURE]["title"] != italian["features"][FEATURE]["title"]


async def test_every_feature_is_locked_at_first(harness: Harness) -> None:
    features = (await harness.call("features"))["features"]
    assert features
    assert not any(held["unlocked"] for held in features.values())
    assert set(features[FEATURE]) == {"unlocked", "source", "plan", "until", "reason", "disputed"}
    assert await harness.call("has", feature=FEATURE) == {"unlocked": False}


async def test_a_misspelt_feature_is_unknown(harness: Harness) -> None:
    error = await harness.refusal("has", feature="remote_bakcup")
    assert error["code"] == "unknown_feature"
    assert error["status"] == "NOT_FOUND"
    assert "remote_bakcup" in error["message"]


async def test_undeclared_arguments_are_ignored(harness: Harness) -> None:
    assert await harness.call("has", feature=FEATURE, ubus_rpc_session="0" * 32, surprise=[1]) == {
        "unlocked": False
    }


@pytest.mark.parametrize(
    ("method", "args", "argument"),
    [
        ("has", {}, "feature"),
        ("has", {"feature": ""}, "feature"),
        ("has", {"feature": 7}, "feature"),
        ("has", {"feature": None}, "feature"),
        ("has", {"feature": "a\nb"}, "feature"),
        ("has", {"feature": "x" * 5000}, "feature"),
        ("has", {"feature": FEATURE, "locale": 3}, "locale"),
        ("transactions", {"limit": 0}, "limit"),
        ("transactions", {"limit": 101}, "limit"),
        ("transactions", {"limit": "many"}, "limit"),
        ("transactions", {"limit": True}, "limit"),
        ("transactions", {"limit": 2.5}, "limit"),
        ("transactions", {"before": ["x"]}, "before"),
        ("transactions", {"before": "no cursor"}, "before"),
        ("payment_status", {}, "payment_id"),
        ("payment_status", {"payment_id": "../etc"}, "payment_id"),
        ("create_checkout_session", {}, "price_id"),
        ("create_checkout_session", {"price_id": {}}, "price_id"),
        ("refund", {}, "payment_id"),
        ("refund", {"payment_id": "pi_1", "amount": -5}, "amount"),
        ("refund", {"payment_id": "pi_1", "amount": "all"}, "amount"),
        ("set_keys", {"secret_key": "not a key"}, "secret_key"),
        ("set_keys", {"secret_key": 5}, "secret_key"),
        ("set_keys", {"webhook_secret": "sk_test_123"}, "webhook_secret"),
    ],
)
async def test_a_wrong_argument_is_named(
    harness: Harness, method: str, args: dict[str, object], argument: str
) -> None:
    error = await harness.refusal(method, **args)
    assert (error["code"], error["status"]) == ("invalid_argument", "INVALID_ARGUMENT")
    assert f"“{argument}”" in error["message"]
    assert error["hint"]


async def test_an_argument_that_is_not_utf8_is_named(harness: Harness) -> None:
    error = await harness.refusal("has", feature=b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert error["code"] == "invalid_argument"
    assert "feature" in error["message"]


@pytest.mark.parametrize("limit", [1, 100, 3.0, "20"])
async def test_an_integer_may_be_a_float_or_a_string(harness: Harness, limit: object) -> None:
    assert await harness.call("transactions", limit=limit) == {"transactions": [], "next": None}


async def test_errors_are_in_the_callers_language(harness: Harness) -> None:
    english = await harness.refusal("has", feature="nope", locale="en")
    italian = await harness.refusal("has", feature="nope", locale="it")
    assert english["message"] != italian["message"]
    assert "Funzione" in italian["message"]
    unknown = await harness.refusal("has", feature="nope", locale="tlh")
    assert unknown["message"] == english["message"]


async def test_without_keys_nothing_can_be_bought(harness: Harness) -> None:
    error = await harness.refusal("create_checkout_session", price_id=ONETIME)
    assert error["code"] == "not_configured"
    assert (await harness.refusal("sync"))["code"] == "not_configured"
    assert (await harness.refusal("create_checkout_session", price_id="price_x"))["code"] == "unknown_price"


async def test_keys_are_stored_and_never_returned(harness: Harness) -> None:
    secret = "sk_test_51NeverToBeShownAnywhere"
    assert await harness.call("set_keys", secret_key=secret) == {"mode": "test"}
    status = await harness.call("status")
    assert status["mode"] == "test"
    assert secret not in str(status)
    assert status["keys"]["secret_key"] == "sk_test_…here"
    assert (harness.state / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert harness.state.stat().st_mode & 0o777 == 0o700
    mixture = await harness.refusal("set_keys", publishable_key="pk_live_51Another")
    assert mixture["code"] == "invalid_argument"
    assert secret not in str(mixture)
    assert await harness.call("set_keys", secret_key="") == {"mode": "unconfigured"}


async def test_a_key_is_tried_before_it_replaces_another(shop: Shop) -> None:
    harness = shop.harness
    await shop.buy()
    before = (await harness.call("status"))["keys"]
    assert await harness.call("set_keys", secret_key="sk_test_invalid51", dry_run=True) == {
        "mode": "test",
        "accepted": False,
        "other_account": False,
        "locks": [],
    }
    live = await harness.call("set_keys", secret_key="rk_live_51Another", dry_run=True)
    assert (live["mode"], live["accepted"]) == ("live", True)
    assert FEATURE in live["locks"]
    same = await harness.call("set_keys", secret_key=shop.account.secret_key, dry_run=True)
    assert same == {"mode": "test", "accepted": True, "other_account": False, "locks": []}
    identity = (await harness.parts()).identity
    ours = identity.load().customer
    identity.set_customer("cus_ofAnotherAccount")
    foreign = await harness.call("set_keys", secret_key="sk_test_51Another", dry_run=True)
    assert foreign == same | {"other_account": True}
    identity.set_customer(ours)
    await shop.stripe.stop()
    unknown = await harness.call("set_keys", secret_key="sk_test_51Another", dry_run=True)
    assert unknown["accepted"] is None
    assert (await harness.call("status"))["keys"] == before
    assert await harness.call("has", feature=FEATURE) == {"unlocked": True}


async def test_whitespace_around_a_pasted_key_is_stripped(harness: Harness) -> None:
    assert await harness.call("set_keys", secret_key=" sk_test_51Pasted\r\n") == {"mode": "test"}
    assert json.loads((harness.state / "secrets.json").read_text()) == {"secret_key": "sk_test_51Pasted"}
    assert await harness.call("set_keys", secret_key=" \n") == {"mode": "unconfigured"}


async def test_an_internal_error_carries_no_traceback(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = await harness.parts()

    def broken() -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(parts.keys, "current", broken)
    error = await harness.refusal("status")
    assert error["code"] == "internal_error"
    assert error["status"] == "UNKNOWN_ERROR"
    assert "Traceback" not in str(error)
    assert "the secret inside" not in str(error)
    assert any(record.exc_info for record in caplog.records)


async def test_an_unknown_method_is_not_found(harness: Harness) -> None:
    with pytest.raises(StatusError) as refused:
        await harness.call("of_tomorrow")
    assert refused.value.status is Status.METHOD_NOT_FOUND


async def test_a_purchase_from_order_to_refund(shop: Shop) -> None:
    harness = shop.harness
    session_id = await shop.buy()
    assert (await harness.call("features"))["features"][FEATURE] | {"plan": ""} == {
        "unlocked": True,
        "source": session_id,
        "plan": "",
        "until": None,
        "reason": "paid",
        "disputed": False,
    }
    paid = await harness.call("payment_status", payment_id=session_id)
    assert (paid["status"], paid["amount"], paid["currency"]) == ("paid", 4999, "eur")
    assert paid["payment_date"].endswith("Z")
    (transaction,) = (await harness.call("transactions", limit=1))["transactions"]
    assert (transaction["amount"], transaction["kind"]) == (4999, "payment")
    again = await harness.refusal("create_checkout_session", price_id=ONETIME)
    assert again["code"] == "already_owned"
    too_much = await harness.refusal("refund", payment_id=session_id, amount=5000)
    assert too_much["code"] == "amount_too_large"
    refund = await harness.call("refund", payment_id=session_id, reason="requested_by_customer")
    assert (refund["amount"], refund["currency"]) == (4999, "eur")
    assert await locked(harness)
    status = await harness.call("status")
    assert (status["stripe"], status["clock"]) == ("ok", "trusted")
    assert status["customer"].startswith("cus_")


async def test_a_feature_says_that_its_payment_is_under_dispute(shop: Shop) -> None:
    harness = shop.harness
    await shop.buy()
    (charge,) = shop.stripe.account.newest_first("charge")
    for outcome, expected in (("open", (True, True)), ("won", (True, False))):
        shop.stripe.dispute(charge["id"], outcome)
        await harness.call("sync")
        feature = (await harness.call("features"))["features"][FEATURE]
        assert (feature["unlocked"], feature["disputed"]) == expected


async def test_status_names_what_is_not_finished_and_a_revision(shop: Shop) -> None:
    harness = shop.harness

    async def unchanged() -> bool:
        first, second = [(await harness.call("status"))["revision"] for _ in range(2)]
        return bool(first == second)

    await harness.until(unchanged)
    first = (await harness.call("status"))["revision"]
    session_id = await shop.checkout()
    (begun,) = (await harness.call("status"))["purchases"]
    assert (begun["payment_id"], begun["price"], begun["state"]) == (session_id, ONETIME, "open")
    assert begun["url"].startswith(shop.stripe.url)
    assert begun["created"].endswith("Z")
    shop.stripe.pay(session_id, card="bank_debit")
    await harness.call("sync")
    (waiting,) = (await harness.call("status"))["purchases"]
    assert waiting == begun | {"state": "processing", "url": None, "created": waiting["created"]}
    shop.stripe.advance(10 * 86400)
    await harness.call("sync")
    status = await harness.call("status")
    assert status["purchases"] == []
    assert status["revision"] != first
    assert await harness.call("has", feature=FEATURE) == {"unlocked": True}


async def test_a_sync_in_the_background_returns_at_once(shop: Shop) -> None:
    """As hotplug calls it: a script is not interested in an error of Stripe's."""
    harness = shop.harness
    synced = await harness.call("sync")
    shop.stripe.set_faults(drop_connection=True)
    assert (await harness.refusal("sync"))["code"] == "stripe_unreachable"
    assert await harness.call("sync", background=True) == {"changed": [], "last_sync": synced["last_sync"]}


async def locked(harness: Harness) -> bool:
    async def check() -> bool:
        return (await harness.call("has", feature=FEATURE))["unlocked"] is False

    await harness.until(check)
    return True


async def test_sync_returns_the_changed_features(shop: Shop) -> None:
    harness = shop.harness
    session_id = await shop.checkout()
    shop.stripe.pay(session_id)
    reply = await harness.call("sync")
    assert reply["last_sync"].endswith("Z")
    # the poller may have been quicker: the feature is unlocked either way
    assert FEATURE in reply["changed"] or await unlocked(harness)
    assert await harness.call("has", feature=FEATURE) == {"unlocked": True}


async def unlocked(harness: Harness) -> bool:
    return (await harness.call("has", feature=FEATURE))["unlocked"] is True


async def test_slow_stripe_calls_do_not_block_other_methods(shop: Shop) -> None:
    harness = shop.harness
    await harness.call("sync")
    shop.stripe.set_faults(latency_ms=2000)
    slow = [
        asyncio.create_task(
            harness.call("create_checkout_session", price_id=ONETIME, success_url=f"http://a.lan/{n}")
        )
        for n in range(8)
    ]
    await asyncio.sleep(0.2)
    for _ in range(50):
        await harness.call("features")
        await harness.call("has", feature=FEATURE)
    assert not any(task.done() for task in slow)
    shop.stripe.set_faults()
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_features_are_answered_while_a_write_hangs(harness: Harness) -> None:
    parts = await harness.parts()
    started = time.monotonic()
    write = asyncio.create_task(parts.ledger.write(lambda tx: time.sleep(1.0)))
    for _ in range(20):
        await harness.call("has", feature=FEATURE)
        await harness.call("features")
    assert not write.done() or time.monotonic() - started > 1.0
    await write


async def test_subscriptions_without_any(harness: Harness) -> None:
    assert await harness.call("subscriptions") == {"subscriptions": []}


@pytest.mark.parametrize(
    ("hostname", "origin"),
    [
        ("Router-OS", "http://router-os.lan"),
        ("evil.example/", "http://openwrt.lan"),
        (None, "http://openwrt.lan"),
    ],
)
async def test_without_return_urls_the_buyer_returns_to_the_routers_host_name(
    shop: Shop, hostname: str | None, origin: str
) -> None:
    if hostname is None:
        (shop.harness.root / "etc/config/system").unlink()
    else:
        (shop.harness.root / "etc/config/system").write_text(
            f"config system\n\toption hostname '{hostname}'\n"
        )
    session = shop.stripe.account.find(await shop.checkout())
    assert session is not None
    assert session["success_url"].startswith(f"{origin}/payment-success?session_id=")
    assert session["cancel_url"] == f"{origin}/payment-cancel"


async def test_public_url_takes_precedence_over_the_host_name(shop: Shop) -> None:
    await shop.harness.configure("main", public_url="https://router.example.org")
    session = shop.stripe.account.find(await shop.checkout(success_url="/thanks"))
    assert session is not None
    assert session["success_url"].startswith("https://router.example.org/thanks?session_id=")
    assert session["cancel_url"] == "https://router.example.org/payment-cancel"
