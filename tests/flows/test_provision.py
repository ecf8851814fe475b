"""A new router sets its Stripe account up: products, prices, ids in the configuration; and again, and
again.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.router.payments_uci import PaymentsUci, Reply
from simulator.router.uci_file import parse
from simulator.world import World
from tests.flows.conftest import WorldMaker
from ubus_py import Call, StatusError

pytestmark = pytest.mark.direct_only(
    "the seller's set-up of a router; the hub's is in tests/hub/test_setup_commands.py"
)

ALIASES = {
    "price_base_monthly",
    "price_base_yearly",
    "price_premium_monthly",
    "price_premium_yearly",
    "price_premium_onetime",
    "price_business_monthly",
    "price_business_yearly",
}
MONTHLY = "price_premium_monthly"


@pytest.fixture
def slow_rpcd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's takes its time to hand the settings out. (A real one does as it likes.)"""
    load = PaymentsUci._load

    async def load_slowly(helper: PaymentsUci, call: Call) -> Reply:
        await asyncio.sleep(0.3)
        return await load(helper, call)

    monkeypatch.setattr(PaymentsUci, "_load", load_slowly)


@pytest.fixture
async def new_router(make_world: WorldMaker) -> AsyncIterator[World]:
    """It has its secret key, and nothing else."""
    async with make_world(configured=False) as world:
        await world.bus.call("stripe-payments", "set_keys", {"secret_key": world.account.secret_key})
        yield world
        assert world.stripe.drift == []


async def provision(world: World, **args: Any) -> Any:
    return await world.bus.call("stripe-payments", "provision", args)


def objects(world: World, kind: str) -> list[dict[str, Any]]:
    return list(world.stripe.account.newest_first(kind))


def posts(world: World) -> int:
    return len(world.stripe.requests(method="POST"))


def in_uci(world: World) -> dict[str, str]:
    """The price ids on disk."""
    package = parse("stripe-payments", (world.root / "etc/config/stripe-payments").read_text())
    return {
        section.name: str(section.options.get("price_id") or "")
        for section in package.sections
        if section.type == "price" and section.name is not None
    }


def row(reply: Any, alias: str) -> Any:
    (found,) = [price for price in reply["prices"] if price["id"] == alias]
    return found


async def change_at_stripe(world: World, alias: str, **values: Any) -> dict[str, Any]:
    price_id = in_uci(world)[alias]
    return await world.account.request("POST", f"prices/{price_id}", **values)


async def reconfigure(world: World, alias: str, **values: str) -> None:
    """`uci set`, `uci commit`; returns when the daemon has read it."""
    await world.bus.call(
        "uci", "set", {"config": "stripe-payments", "section": alias, "values": dict(values)}
    )
    await world.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def read() -> bool:
        catalog: Any = await world.bus.call("stripe-payments", "catalog", {})
        sold = {
            price["id"]: price
            for item in (*catalog["plans"], *catalog["products"])
            for price in item["prices"]
        }
        return all(str(sold[alias][name] or "") == value for name, value in values.items())

    await world.wait_until(read)


async def test_a_dry_run_says_everything_and_does_nothing(new_router: World) -> None:
    reply = await provision(new_router, dry_run=True)
    assert reply["dry_run"] is True
    assert set(reply["created"]["prices"]) == ALIASES
    assert set(reply["created"]["products"]) == {"base", "premium", "business"}
    assert reply["stored"] == {}
    assert all(price["price_id"] is None for price in reply["prices"])
    assert posts(new_router) == 0
    assert objects(new_router, "price") == objects(new_router, "product") == []
    assert set(in_uci(new_router).values()) == {""}


async def test_what_is_missing_is_made_and_stored(new_router: World) -> None:
    reply = await provision(new_router)
    assert set(reply["created"]["prices"]) == ALIASES
    made = {price["lookup_key"]: price for price in objects(new_router, "price")}
    assert set(made) == ALIASES
    assert in_uci(new_router) == reply["stored"] == {alias: price["id"] for alias, price in made.items()}
    assert (made[MONTHLY]["unit_amount"], made[MONTHLY]["currency"]) == (499, "eur")
    assert made[MONTHLY]["recurring"]["interval"] == "month"
    assert made["price_premium_yearly"]["recurring"]["interval"] == "year"
    assert made["price_premium_onetime"]["recurring"] is None
    assert made[MONTHLY]["metadata"] == {"price_alias": MONTHLY, "item": "premium"}
    # the three prices of Premium are one product, as in the guide
    premium = {made[alias]["product"] for alias in ALIASES if "premium" in alias}
    assert len(premium) == 1
    assert len(objects(new_router, "product")) == 3
    keys = [request["idempotency_key"] for request in new_router.stripe.requests(method="POST")]
    assert all(keys)
    assert len(set(keys)) == 10


async def test_an_amount_that_stripe_does_not_charge_is_named_and_not_made(new_router: World) -> None:
    """Below the minimum, or finer than the currency allows: such a price could never be paid."""
    config = new_router.root / "etc/config/stripe-payments"
    config.write_text(
        config.read_text()
        + """
config price 'price_too_small'
	option of 'router_os_premium'
	option amount '10'
	option currency 'eur'

config price 'price_too_fine'
	option of 'router_os_premium'
	option amount '4995'
	option currency 'kwd'

config price 'price_in_rupiah'
	option of 'router_os_premium'
	option amount '150000000'
	option currency 'idr'
"""
    )
    await reconfigure(new_router, MONTHLY, amount="599")
    reply = await provision(new_router)
    assert reply["problems"] == [
        "price_too_small.amount: “10” is below Stripe's minimum of 0.50 EUR; the price is not for sale.",
        "price_too_fine.amount: “4995” is not a multiple of 10, which Stripe requires in KWD; the price is "
        "not for sale.",
    ]
    assert row(reply, "price_in_rupiah")["action"] == "create"
    made = {price["lookup_key"]: price["unit_amount"] for price in objects(new_router, "price")}
    assert made["price_in_rupiah"] == 150_000_000
    assert set(made) == ALIASES | {"price_in_rupiah"}


async def test_prices_are_made_with_the_tax_behavior_and_replaced_for_another(new_router: World) -> None:
    async def set_behavior(value: str) -> None:
        await new_router.bus.call(
            "uci",
            "set",
            {"config": "stripe-payments", "section": "main", "values": {"tax_behavior": value}},
        )
        await new_router.bus.call("uci", "commit", {"config": "stripe-payments"})

    await set_behavior("inclusive")
    await provision(new_router)
    assert {price["tax_behavior"] for price in objects(new_router, "price")} == {"inclusive"}
    await set_behavior("exclusive")
    reply = await provision(new_router, dry_run=True)
    assert set(reply["different"]) == ALIASES
    assert row(reply, MONTHLY)["differences"] == [
        {"field": "tax_behavior", "configured": "exclusive", "at_stripe": "inclusive"}
    ]
    await provision(new_router, replace=True)
    current = {price["tax_behavior"] for price in objects(new_router, "price") if price["lookup_key"]}
    assert current == {"exclusive"}


async def test_the_second_run_makes_nothing(new_router: World) -> None:
    first = await provision(new_router)
    before, written = posts(new_router), (new_router.root / "etc/config/stripe-payments").stat().st_mtime_ns
    second = await provision(new_router)
    assert second["created"] == {"products": [], "prices": []}
    assert set(second["found"]["prices"]) == ALIASES
    assert second["stored"] == {}
    assert posts(new_router) == before
    assert (new_router.root / "etc/config/stripe-payments").stat().st_mtime_ns == written
    assert {price["price_id"] for price in second["prices"]} == set(first["stored"].values())


@pytest.mark.usefixtures("slow_rpcd")
async def test_what_is_stored_is_in_force_when_the_answer_comes(new_router: World) -> None:
    """The next call finds it: no caller waits for the daemon to read its settings again."""
    stored = (await provision(new_router))["stored"]
    catalog: Any = await new_router.bus.call("stripe-payments", "catalog", {})
    sold = [price for item in (*catalog["plans"], *catalog["products"]) for price in item["prices"]]
    assert {price["id"]: price["price_id"] for price in sold} == stored


async def test_what_was_edited_a_moment_ago_is_provisioned(new_router: World) -> None:
    """The file is read first; nothing has reloaded the service."""
    file = new_router.root / "etc/config/stripe-payments"
    file.write_text(file.read_text().replace("option amount '499'", "option amount '599'"))
    rows = (await provision(new_router, dry_run=True))["prices"]
    assert {row["amount"] for row in rows} >= {599}


async def test_a_price_id_that_was_taken_out_again_is_noticed_at_the_next_poll(new_router: World) -> None:
    """By a backup for example, put back without an event: what is in use is what is in the file."""
    file = new_router.root / "etc/config/stripe-payments"
    before = file.read_text()
    await provision(new_router)
    file.write_text(before)
    await new_router.bus.call("stripe-payments", "sync", {})

    async def as_in_the_file() -> bool:
        catalog: Any = await new_router.bus.call("stripe-payments", "catalog", {})
        items = [*catalog["plans"], *catalog["products"]]
        return all(price["price_id"] is None for item in items for price in item["prices"])

    await new_router.wait_until(as_in_the_file)


async def test_what_was_provisioned_can_be_bought(new_router: World) -> None:
    await provision(new_router)
    reply = await new_router.bus.call(
        "stripe-payments",
        "create_checkout_session",
        {"price_id": MONTHLY, "success_url": new_router.front.url},
    )
    await new_router.pay(str(reply["session_id"]))

    async def unlocked() -> bool:
        return await new_router.unlocked("remote_backup_daily")

    await new_router.wait_until(unlocked)


async def test_an_operators_own_prices_are_found_by_their_lookup_key(new_router: World) -> None:
    product = await new_router.account.request("POST", "products", name="My Premium")
    mine = await new_router.account.request(
        "POST",
        "prices",
        product=product["id"],
        unit_amount=499,
        currency="eur",
        lookup_key=MONTHLY,
        recurring={"interval": "month"},
    )
    reply = await provision(new_router)
    assert row(reply, MONTHLY)["state"] == "found"
    assert in_uci(new_router)[MONTHLY] == mine["id"]
    # the others join it in its product
    assert row(reply, "price_premium_yearly")["product_id"] == product["id"]
    assert row(reply, "price_premium_onetime")["product_id"] == product["id"]


async def test_a_product_named_in_the_configuration_is_used(new_router: World) -> None:
    product = await new_router.account.request("POST", "products", name="Backups")
    await new_router.bus.call(
        "uci",
        "set",
        {"config": "stripe-payments", "section": "base", "values": {"stripe_product": product["id"]}},
    )
    await new_router.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def read() -> bool:
        planned = await provision(new_router, dry_run=True)
        return any(one["product_id"] == product["id"] for one in planned["products"])

    await new_router.wait_until(read)
    reply = await provision(new_router)
    assert row(reply, "price_base_monthly")["product_id"] == product["id"]
    assert len(objects(new_router, "product")) == 3


@pytest.mark.parametrize(
    ("configured", "field", "here", "there"),
    [
        ({"amount": "599"}, "amount", 599, 499),
        ({"currency": "usd"}, "currency", "usd", "eur"),
        ({"interval": "year"}, "interval", "year", "month"),
    ],
)
async def test_a_difference_is_reported_and_left_alone(
    new_router: World, configured: dict[str, str], field: str, here: object, there: object
) -> None:
    await provision(new_router)
    stored, before = in_uci(new_router)[MONTHLY], posts(new_router)
    await reconfigure(new_router, MONTHLY, **configured)
    english, italian = await provision(new_router), await provision(new_router, locale="it")
    reported = row(english, MONTHLY)
    assert (reported["state"], reported["action"]) == ("different", "")
    assert reported["differences"] == [{"field": field, "configured": here, "at_stripe": there}]
    assert "replace=true" in reported["hint"]
    assert "replace=true" in row(italian, MONTHLY)["hint"]
    assert reported["detail"] != row(italian, MONTHLY)["detail"]
    assert english["different"] == [MONTHLY]
    assert posts(new_router) == before
    assert in_uci(new_router)[MONTHLY] == stored


async def test_replace_makes_a_new_price_and_hands_the_key_over(new_router: World) -> None:
    await provision(new_router)
    old = in_uci(new_router)[MONTHLY]
    await reconfigure(new_router, MONTHLY, amount="599")
    planned = await provision(new_router, dry_run=True, replace=True)
    assert planned["replaced"] == [MONTHLY]
    assert in_uci(new_router)[MONTHLY] == old
    reply = await provision(new_router, replace=True)
    assert reply["replaced"] == [MONTHLY]
    assert reply["created"]["prices"] == []
    new = in_uci(new_router)[MONTHLY]
    assert new != old
    prices = {price["id"]: price for price in objects(new_router, "price")}
    assert (prices[new]["unit_amount"], prices[new]["lookup_key"]) == (599, MONTHLY)
    assert prices[new]["product"] == prices[old]["product"]
    assert (prices[old]["unit_amount"], prices[old]["lookup_key"], prices[old]["active"]) == (499, None, True)
    assert (await provision(new_router, replace=True))["replaced"] == []


async def test_an_archived_price_is_reported(new_router: World) -> None:
    await provision(new_router)
    await change_at_stripe(new_router, MONTHLY, active=False)
    reported = row(await provision(new_router), MONTHLY)
    assert (reported["state"], reported["action"]) == ("inactive", "")
    assert "Dashboard" in reported["hint"]
    assert "archiviato" in row(await provision(new_router, locale="it"), MONTHLY)["detail"]
    await provision(new_router, replace=True)
    assert row(await provision(new_router), MONTHLY)["state"] == "found"


async def test_ids_of_test_mode_are_replaced_under_a_live_key(new_router: World) -> None:
    await provision(new_router)
    before = in_uci(new_router)
    await new_router.bus.call("stripe-payments", "set_keys", {"secret_key": "sk_live_1234567890abcdef"})
    reply = await provision(new_router)
    assert reply["mode"] == "live"
    assert set(reply["created"]["prices"]) == ALIASES
    assert not set(in_uci(new_router).values()) & set(before.values())


async def test_the_missing_permission_is_named_and_nothing_is_lost(new_router: World) -> None:
    key = "rk_test_provisioning"
    new_router.stripe.api.keys.restrict(key, ["rak_plan_write"])
    await new_router.bus.call("stripe-payments", "set_keys", {"secret_key": key})
    with pytest.raises(StatusError) as refused:
        await provision(new_router)
    body: Any = refused.value.data
    assert body["error"]["code"] == "stripe_key_permission"
    assert "Prices: Write (rak_plan_write)" in body["error"]["message"]
    new_router.stripe.api.keys.restrict(key, [])
    assert set((await provision(new_router))["created"]["prices"]) == ALIASES
    assert len(objects(new_router, "product")) == 3  # the one made before the refusal is among them


async def test_an_answer_that_is_lost_makes_nothing_twice(new_router: World) -> None:
    new_router.stripe.set_faults(method="POST", path="/v1/pri*", drop_connection=True, when="after", count=2)
    await provision(new_router)
    new_router.stripe.set_faults(method="POST", path="/v1/pro*", status=500, count=9)
    await provision(new_router)
    new_router.stripe.set_faults()
    assert len(objects(new_router, "product")) == 3
    assert len(objects(new_router, "price")) == len(ALIASES)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failure_that_stripe_stored_does_not_keep_a_product_from_being_made(
    new_router: World, when: str
) -> None:
    new_router.stripe.set_faults(
        method="POST", path="/v1/products", status=500, stored=True, when=when, count=1
    )
    with pytest.raises(StatusError):
        await provision(new_router)
    assert set((await provision(new_router))["created"]["prices"]) == ALIASES
    assert len(objects(new_router, "product")) == 3
    assert len(objects(new_router, "price")) == len(ALIASES)


async def test_what_could_not_be_stored_is_stored_by_the_next_run(new_router: World) -> None:
    await new_router.router.stop()
    with pytest.raises(StatusError) as refused:
        await provision(new_router)
    body: Any = refused.value.data
    assert body["error"]["code"] == "settings_not_stored"
    assert "rpcd" in body["error"]["hint"]
    assert set(in_uci(new_router).values()) == {""}
    await new_router.router.start()
    reply = await provision(new_router)
    assert reply["created"]["prices"] == []
    assert in_uci(new_router) == reply["stored"]
    assert set(reply["stored"]) == ALIASES


async def test_without_a_key_it_says_so(tmp_path: Path) -> None:
    async with World(state=tmp_path, configured=False) as world:
        with pytest.raises(StatusError) as refused:
            await provision(world)
        body: Any = refused.value.data
        assert body["error"]["code"] == "not_configured"
