"""The router registers its own webhook endpoint, keeps it right, and leaves everybody else's alone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from simulator.world import World
from stripe_payments.setup.webhook_endpoint import WEBHOOK_EVENTS
from tests.flows.conftest import Buyer, WorldMaker
from ubus_py import StatusError

pytestmark = pytest.mark.direct_only(
    "the seller's set-up of a router; the hub's is in tests/hub/test_setup_commands.py"
)

PATH = "/api/payments/webhook"


@pytest.fixture
async def router(make_world: WorldMaker) -> AsyncIterator[World]:
    """A router that sells, with no webhook yet."""
    async with make_world(webhooks=False) as world:
        yield world
        assert world.stripe.drift == []


async def set_up(world: World, **args: Any) -> Any:
    return await world.bus.call("stripe-payments", "setup_webhook", {"url": world.front.url + PATH, **args})


async def refusal(world: World, **args: Any) -> Any:
    with pytest.raises(StatusError) as refused:
        await set_up(world, **args)
    body: Any = refused.value.data
    return body["error"]


def endpoints(world: World) -> list[dict[str, Any]]:
    return list(world.stripe.account.newest_first("webhook_endpoint"))


def stored_secret(world: World) -> str | None:
    secrets: dict[str, str] = json.loads((world.root / "etc/stripe-payments/secrets.json").read_text())
    return secrets.get("webhook_secret")


def secret_at_stripe(world: World, endpoint_id: str) -> str:
    return str(world.stripe.account.behind(endpoint_id)["secret"])


async def test_created_with_our_events_and_the_pinned_version(router: World) -> None:
    reply = await set_up(router)
    (endpoint,) = endpoints(router)
    status = await router.bus.call("stripe-payments", "status", {})
    assert reply["action"] == "created"
    assert reply["id"] == endpoint["id"]
    assert sorted(endpoint["enabled_events"]) == sorted(WEBHOOK_EVENTS)
    assert endpoint["api_version"] == reply["api_version"] == stripe.api_version
    assert endpoint["metadata"] == {"router_id": status["router_id"]}
    assert status["webhook"] == "configured"
    assert stored_secret(router) == secret_at_stripe(router, endpoint["id"])
    assert "whsec_" not in json.dumps(reply)
    assert secret_at_stripe(router, endpoint["id"])[6:] not in router.daemon.log_text()


async def test_its_events_are_accepted(router: World) -> None:
    await set_up(router, url=router.front.url)  # the path is added
    buyer = Buyer(router)
    session = await buyer.buy()
    await buyer.everywhere(unlocked=True)

    async def delivered() -> bool:
        mine = [one for one in router.stripe.deliveries() if one["type"] == "checkout.session.completed"]
        return bool(mine) and all(one["state"] == "delivered" for one in mine)

    await router.wait_until(delivered)
    assert (await buyer.payment(session))["status"] == "paid"


async def test_the_second_time_changes_nothing(router: World) -> None:
    first = await set_up(router)
    before = len(router.stripe.requests(method="POST"))
    second = await set_up(router, locale="it")
    assert second["action"] == "unchanged"
    assert second["id"] == first["id"]
    assert "è aggiornato" in second["detail"]
    assert len(router.stripe.requests(method="POST")) == before


async def test_what_was_changed_at_stripe_is_restored_and_the_secret_stays(router: World) -> None:
    first = await set_up(router)
    await router.account.request(
        "POST", f"webhook_endpoints/{first['id']}", enabled_events=["charge.refunded"], disabled=True
    )
    secret = stored_secret(router)
    assert (await set_up(router))["action"] == "updated"
    (endpoint,) = endpoints(router)
    assert (endpoint["status"], len(endpoint["enabled_events"])) == ("enabled", len(WEBHOOK_EVENTS))
    assert stored_secret(router) == secret


async def test_a_router_that_moved_takes_its_endpoint_along(router: World) -> None:
    first = await set_up(router, url="https://old.example.org")
    second = await set_up(router, url="https://new.example.org/api/payments/webhook")
    assert (second["action"], second["id"]) == ("updated", first["id"])
    (endpoint,) = endpoints(router)
    assert endpoint["url"] == "https://new.example.org" + PATH


@pytest.mark.parametrize("how", ["secret", "version", "by hand"])
async def test_an_endpoint_that_cannot_be_used_is_replaced(router: World, how: str) -> None:
    if how == "by hand":
        await router.account.request(
            "POST", "webhook_endpoints", url=router.front.url + PATH, enabled_events=["*"]
        )
    else:
        await set_up(router)
    (old,) = endpoints(router)
    if how == "secret":
        await router.bus.call("stripe-payments", "set_keys", {"webhook_secret": "whsec_of_something_else"})
    if how == "version":
        old["api_version"] = "2023-10-16"  # as an older release of ours would have pinned it
    reply = await set_up(router)
    assert reply["action"] == "recreated"
    assert reply["removed"] == [old["id"]]
    assert "deleted" in reply["detail"]
    (new,) = endpoints(router)
    assert new["id"] == reply["id"] != old["id"]
    assert stored_secret(router) == secret_at_stripe(router, new["id"])


async def test_a_full_account_makes_room(router: World) -> None:
    await router.account.request(
        "POST", "webhook_endpoints", url=router.front.url + PATH, enabled_events=["*"]
    )
    for number in range(15):
        await router.account.request(
            "POST", "webhook_endpoints", url=f"https://other{number}.example.org", enabled_events=["*"]
        )
    assert (await set_up(router))["action"] == "recreated"
    assert len(endpoints(router)) == 16


async def test_the_endpoints_of_others_are_left_alone(router: World) -> None:
    other = await router.account.request(
        "POST",
        "webhook_endpoints",
        url="https://other.example.org/api/payments/webhook",
        enabled_events=["*"],
        metadata={"router_id": "another"},
    )
    shop = await router.account.request(
        "POST", "webhook_endpoints", url="https://shop.example.org/hooks", enabled_events=["*"]
    )
    before = {one["id"]: dict(one) for one in endpoints(router)}
    await set_up(router)
    await set_up(router, url="https://new.example.org")
    after = {one["id"]: dict(one) for one in endpoints(router)}
    assert {id_: after[id_] for id_ in (other["id"], shop["id"])} == before


async def test_an_address_of_another_router_is_taken_only_on_request(router: World) -> None:
    other = await router.account.request(
        "POST",
        "webhook_endpoints",
        url=router.front.url + PATH,
        enabled_events=["*"],
        metadata={"router_id": "0123456789abcdef"},
    )
    error = await refusal(router)
    assert error["code"] == "invalid_argument"
    assert "01234567" in error["message"]
    assert "replace=true" in error["message"]
    assert [one["id"] for one in endpoints(router)] == [other["id"]]
    assert (await set_up(router, replace=True))["removed"] == [other["id"]]


@pytest.mark.parametrize(
    "url", ["", "router.example.org", "ftp://router.example.org", "https://", "https://user:pw@example.org/x"]
)
async def test_what_is_no_address_is_refused(router: World, url: str) -> None:
    assert (await refusal(router, url=url))["code"] == "invalid_argument"
    assert endpoints(router) == []


async def test_live_events_go_to_https_alone(router: World) -> None:
    await router.bus.call("stripe-payments", "set_keys", {"secret_key": "sk_live_1234567890abcdef"})
    error = await refusal(router, url="http://router.example.org", locale="it")
    assert error["code"] == "invalid_argument"
    assert "https" in error["message"]


@pytest.mark.parametrize("name", ["rak_webhook_write", "webhook_write"])
async def test_the_missing_permission_is_named(router: World, name: str) -> None:
    """Stripe's refusals name it in an older and in a newer form."""
    key = "rk_test_webhooks"
    router.stripe.api.keys.restrict(key, [name])
    await router.bus.call("stripe-payments", "set_keys", {"secret_key": key})
    error = await refusal(router)
    assert error["code"] == "stripe_key_permission"
    assert f"Webhook Endpoints: Write ({name})" in error["message"]
    assert stored_secret(router) is None


async def test_a_secret_of_the_environment_is_not_shadowed(tmp_path: Path) -> None:
    environment = {"STRIPE_WEBHOOK_SECRET": "whsec_of_the_environment"}
    async with World(state=tmp_path, webhooks=False, environment=environment) as world:
        error = await refusal(world)
        assert error["code"] == "invalid_argument"
        assert "STRIPE_WEBHOOK_SECRET" in error["message"]
        assert endpoints(world) == []
