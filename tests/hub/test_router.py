"""A router in hub mode: the daemon as a process, on its bus, with the real hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import jwt
import pytest

from payments_hub.metrics import REGISTRY
from payments_hub.operations import Operations
from simulator.hub_processes import CATALOG as EXAMPLE
from simulator.router.uci_file import parse
from simulator.world import World
from tests.hub.vendor import Caller, Vendor, apply_catalog, request_stripe
from ubus_py import CallTimeout, StatusError

SELLERS = {"grant", "grants", "provision", "refund", "revoke", "set_keys", "setup_webhook"}


class HubRouter:
    """A router in hub mode; `id` is what the hub calls it."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return await self.world.bus.call("stripe-payments", method, arguments)

    async def fails(self, method: str, **arguments: Any) -> dict[str, Any]:
        """The error of a call."""
        with pytest.raises(StatusError) as raised:
            await self.call(method, **arguments)
        assert raised.value.data is not None
        error: dict[str, Any] = raised.value.data["error"]
        return error

    async def configure(self, option: str, value: str) -> None:
        """Set an option of the main section, as `uci set` and `uci commit` do."""
        values: Any = {"config": "stripe-payments", "section": "main", "values": {option: value}}
        await self.world.bus.call("uci", "set", values)
        await self.world.bus.call("uci", "commit", {"config": "stripe-payments"})

    async def status(self) -> dict[str, Any]:
        return await self.call("status")

    async def enrolled(self) -> str:
        async def done() -> bool:
            status = await self.status()
            return bool(status["seller"]["enrolled"]) and status["seller"]["last_contact"] is not None

        await self.world.wait_until(done)
        return str((await self.status())["router_id"])

    async def unlocked(self) -> set[str]:
        features = (await self.call("features"))["features"]
        return {name for name, held in features.items() if held["unlocked"]}

    async def unlocks(self, *expected: str) -> None:
        async def holds() -> bool:
            return await self.unlocked() == set(expected) and self.in_uci() == set(expected)

        await self.world.wait_until(holds)

    def in_uci(self) -> set[str]:
        file = self.world.root / "etc/config/stripe-features"
        sections = parse("stripe-features", file.read_text()).sections
        return {one.name for one in sections if one.options.get("unlocked") == "1" and one.name}

    def problems(self) -> list[str]:
        """Warnings and errors in the daemon's log."""
        lines = self.world.daemon.log_text().splitlines()
        return [line for line in lines if line.startswith(("level=warning", "level=error"))]

    async def buy(self, price: str = "premium_monthly") -> str:
        session = str((await self.call("create_checkout_session", price_id=price))["session_id"])
        await self.world.pay(session)
        return session


class Line:
    """The line to the hub: `url` is its address for routers. While `cut` no connection lives; while
    `loses_answers` requests arrive, and no answer.
    """

    def __init__(self, hub: str) -> None:
        self.target = hub
        self._open: set[asyncio.StreamWriter] = set()
        self.cut = False
        self.loses_answers = False
        self.loses_answers_to = b""
        """And all later ones of that connection."""
        self.url = ""

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()

    def hang_up(self, *, cut: bool = True) -> None:
        self.cut = cut
        for writer in self._open:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", int(self.target.rpartition(":")[2]))
        self._open |= {writer, there[1]}
        lost = asyncio.Event()

        def look(sent: bytes) -> bool:
            if self.loses_answers_to and self.loses_answers_to in sent:
                lost.set()
            return False

        await asyncio.gather(
            _copy(reader, there[1], look),
            _copy(there[0], writer, lambda _: self.loses_answers or lost.is_set()),
        )
        self._open -= {writer, there[1]}


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, loses: Callable[[bytes], bool]
) -> None:
    with suppress(OSError):
        while received := await source.read(65_536):
            if loses(received):
                continue
            target.write(received)
            await target.drain()
    target.close()


def world_of(
    vendor: Vendor, line: Line, folder: Path, code: str, environment: dict[str, str] | None = None
) -> World:
    """A router that the vendor has prepared with a code. As with procd, the daemon is started again where a
    reload signal ends it in its first moment.
    """
    hub = (line.url, code)
    return World(state=folder, stripe=vendor.cloud, hub=hub, environment=environment, respawn=True)


@asynccontextmanager
async def hub_router(
    vendor: Vendor, line: Line, folder: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[HubRouter]:
    """A router that is enrolled."""
    code = await vendor.hub.routers.new_enrollment_code()
    async with world_of(vendor, line, folder, code, environment) as world:
        router = HubRouter(world)
        await router.enrolled()
        yield router


@pytest.fixture
async def vendor(database_url: str, tmp_path: Path) -> AsyncIterator[Vendor]:
    """Its routers poll once a second."""
    async with Vendor.open(database_url, tmp_path, poll_after=1) as opened:
        yield opened


@pytest.fixture
async def line(vendor: Vendor) -> AsyncIterator[Line]:
    async with Line(vendor.url) as opened:
        yield opened


@pytest.fixture
async def router(vendor: Vendor, line: Line, tmp_path: Path) -> AsyncIterator[HubRouter]:
    async with hub_router(vendor, line, tmp_path / "a") as opened:
        yield opened


async def test_a_purchase_unlocks_and_a_refund_locks(vendor: Vendor, router: HubRouter) -> None:
    assert await router.unlocked() == set()
    await router.buy("lifetime_once")
    await router.unlocks("updates", "backups")
    statement = (await router.call("statement", audience="https://backup.example.org"))["statement"]
    key = jwt.PyJWK(vendor.hub.signer.jwks()["keys"][0])
    claims = jwt.decode(statement, key, ["ES256"], audience="https://backup.example.org")
    router_id = (await router.status())["router_id"]
    assert (claims["sub"], claims["features"]) == (router_id, ["backups", "updates"])
    (payment,) = (await router.call("transactions"))["transactions"]
    await request_stripe(vendor.cloud, "post", "refunds", payment_intent=payment["id"])
    await router.unlocks()
    assert router.problems() == []


async def test_the_sellers_methods_are_nowhere(router: HubRouter) -> None:
    async def published() -> bool:
        (found,) = await router.world.bus.lookup("stripe-payments")
        methods = set(found.methods)
        return not SELLERS & methods and methods >= {"recovery_code", "recover"}

    await router.world.wait_until(published)
    for method in SELLERS:  # root's shell has them in direct mode
        words = ["backups"] if method in ("grant", "revoke") else []
        reader, writer = await asyncio.open_unix_connection(router.world.private / "seller.sock")
        writer.write(json.dumps({"method": method, "words": words}).encode() + b"\n")
        assert json.loads(await reader.readline())["status"] != 0
        writer.close()
        await writer.wait_closed()


async def test_what_only_direct_mode_needs_is_not_imported(
    vendor: Vendor, line: Line, tmp_path: Path
) -> None:
    async with hub_router(vendor, line, tmp_path / "a", {"PYTHONPROFILEIMPORTTIME": "1"}) as router:
        await router.buy("lifetime_once")
        await router.unlocks("updates", "backups")
        checks = (await router.call("check"))["checks"]
        assert "internal error" not in str(checks)
        lines = router.world.daemon.log_text().splitlines()
        names = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import")]
        top = {name.partition(".")[0] for name in names}
        assert {"http", "ssl", "sqlite3"} <= top
        assert not {"stripe", "requests", "urllib3"} & top
        own = {name.split(".")[1] for name in names if name.startswith("stripe_payments.")}
        assert "diagnostics" in own
        # stripe_api: it checks STRIPE_API_BASE, which only a simulation sets
        assert not {"billing", "setup", "sync"} & own


async def test_a_revoked_router_keeps_its_plan_and_cannot_buy(vendor: Vendor, router: HubRouter) -> None:
    await router.buy()
    await router.unlocks("updates", "backups")
    await vendor.hub.routers.revoke(str((await router.status())["router_id"]))

    async def known() -> bool:
        problem = (await router.status())["seller"]["problem"]
        return problem is not None and problem["code"] == "router_revoked"

    await router.world.wait_until(known)
    refused = await router.fails("create_checkout_session", price_id="lifetime_once", locale="it")
    assert (refused["code"], refused["message"]) == (
        "router_revoked",
        "Il venditore ha bloccato questo router.",
    )
    assert await router.unlocked() == {"updates", "backups"}
    (found,) = [one for one in (await router.call("check"))["checks"] if one["id"] == "seller"]
    assert (found["severity"], found["detail"]) == ("error", "The seller has blocked this router.")
    await router.world.daemon.kill()
    await router.world.daemon.start()
    await router.world.daemon_answers()
    assert await router.unlocked() == {"updates", "backups"}
    assert (await router.status())["seller"]["problem"]["code"] == "router_revoked"


async def test_a_recovery_code_moves_everything(
    vendor: Vendor, line: Line, router: HubRouter, tmp_path: Path
) -> None:
    await router.buy("lifetime_once")
    await router.unlocks("updates", "backups")
    code = (await router.call("recovery_code"))["code"]
    async with hub_router(vendor, line, tmp_path / "b") as other:
        assert await other.unlocked() == set()
        assert (await other.fails("recover", code="ABCDE-FGHJK"))["code"] == "code_refused"
        assert (await other.call("recover", code=code))["features"] == ["backups", "updates"]
        await other.unlocks("updates", "backups")
        await router.unlocks()
        assert (await router.status())["seller"]["problem"]["code"] == "router_replaced"


async def test_without_the_hub_what_was_bought_stays(line: Line, router: HubRouter) -> None:
    await router.buy("lifetime_once")
    await router.unlocks("updates", "backups")
    catalog = await router.call("catalog")
    line.hang_up()
    await router.world.daemon.kill()
    await router.world.daemon.start()
    await router.world.daemon_answers()
    assert await router.unlocked() == {"updates", "backups"}
    assert await router.call("catalog") == catalog
    refused = await router.fails("create_checkout_session", price_id="premium_monthly")
    assert refused["code"] == "seller_unreachable"
    found = {one["id"]: one["severity"] for one in (await router.call("check"))["checks"]}
    assert found["seller"] == "error"
    line.cut = False
    await router.call("sync")
    assert (await router.status())["seller"]["problem"] is None


def polls_without_news() -> float:
    """Of all instances in this process."""
    labels = {"route": "/v1/state", "method": "GET", "status": "304"}
    return REGISTRY.get_sample_value("hub_requests_total", labels) or 0.0


async def test_a_poll_without_news_may_change_the_interval(database_url: str, tmp_path: Path) -> None:
    async with (
        Vendor.open(database_url, tmp_path, poll_after=86_400) as vendor,
        vendor.instance(poll_after=1) as sooner,
        Line(vendor.url) as line,
        hub_router(vendor, line, tmp_path / "a") as router,
    ):
        line.target, before = sooner.url, polls_without_news()
        await router.world.daemon.kill()
        await router.world.daemon.start()
        await router.world.daemon_answers()

        async def polled() -> bool:
            return polls_without_news() > before

        await router.world.wait_until(polled)
        granted = Operations(vendor.hub, "cli:root")
        await granted.grant(str((await router.status())["router_id"]), "updates")
        await router.unlocks("updates")
        await granted.end_grant(str((await router.status())["router_id"]), "updates")
        await router.unlocks()


async def test_a_purchase_after_a_power_cut_is_the_same_one(
    vendor: Vendor, line: Line, router: HubRouter
) -> None:
    """The hub made the session, its answer was lost with the router's power, and the buyer clicks again."""
    line.loses_answers = True
    lost = asyncio.create_task(router.call("create_checkout_session", price_id="lifetime_once"))

    async def replies() -> list[Any]:
        async with vendor.hub.database.requests.connection() as connection:
            found = await connection.execute("SELECT key, body FROM replies")
            return await found.fetchall()

    async def served() -> bool:
        return len(await replies()) == 1

    await router.world.wait_until(served)
    await router.world.daemon.kill()
    lost.cancel()
    line.loses_answers = False
    await router.world.daemon.start()
    await router.world.daemon_answers()
    session = await router.call("create_checkout_session", price_id="lifetime_once")
    ((_key, body),) = await replies()
    assert session["session_id"] == body["session_id"]
    again = await router.call("create_checkout_session", price_id="lifetime_once")
    assert len(await replies()) == 2, "one that has its answer is over"
    assert again["session_id"] == session["session_id"], "the hub's own rule: one open page for one price"


async def test_a_power_cut_while_enrolling_makes_no_second_router(
    vendor: Vendor, line: Line, tmp_path: Path
) -> None:
    code = await vendor.hub.routers.new_enrollment_code()
    line.cut = True
    async with world_of(vendor, line, tmp_path / "a", code) as world:
        stored = world.root / "etc/stripe-payments/hub.json"
        secret = json.loads(stored.read_bytes())["hubs"][line.url]["secret"]
        assert stored.stat().st_mode & 0o777 == 0o600
        await world.daemon.kill()
        # the hub has enrolled it, and the answer was lost
        body = {"secret": secret, "code": code, "board": "x", "version": "x"}
        enrolled = await vendor.http.post("/v1/enrollments", json=body)
        line.cut = False
        await world.daemon.start()
        await world.daemon_answers()
        assert await HubRouter(world).enrolled() == enrolled.json()["router_id"]
        assert len(await vendor.hub.routers.find()) == 1

        async def forgotten() -> bool:
            return "hub_code" not in (world.root / "etc/config/stripe-payments").read_text()

        await world.wait_until(forgotten)


@pytest.mark.parametrize(
    ("code", "problem"), [("ABCDE-FGHJK-MNPQR-STVWX", "code_refused"), ("", "enrollment_closed")]
)
async def test_a_router_without_a_good_code_says_so(
    vendor: Vendor, line: Line, tmp_path: Path, code: str, problem: str
) -> None:
    async with world_of(vendor, line, tmp_path / "a", code) as world:
        router = HubRouter(world)

        async def known() -> bool:
            found = (await router.status())["seller"]["problem"]
            return found is not None and found["code"] == problem

        await world.wait_until(known)
        assert (await router.fails("create_checkout_session", price_id="lifetime_once"))["code"] == problem
        good = await vendor.hub.routers.new_enrollment_code()
        await router.configure("hub_code", good)
        await router.enrolled()


async def test_the_option_hub_takes_effect_at_run_time(line: Line, router: HubRouter) -> None:
    before = (await router.status())["router_id"]
    for url, expected in (("", None), (line.url, line.url)):
        await router.configure("hub", url)

        async def changed(expected: str | None = expected) -> bool:
            try:  # a call in the moment of the replacement gets no answer
                status: Any = await router.world.bus.call("stripe-payments", "status", {}, timeout=5)
            except (StatusError, CallTimeout):
                return False
            seller = status["seller"] or {"url": None}
            return bool(seller["url"] == expected)

        await router.world.wait_until(changed)
    assert await router.enrolled() == before


async def test_a_router_goes_back_to_direct_mode_with_what_it_has(database_url: str, tmp_path: Path) -> None:
    """As docs/hub.md says: the account's id becomes the router's own."""
    async with Vendor.open(database_url, tmp_path, poll_after=1, catalog=None) as vendor:
        await apply_catalog(vendor.hub, EXAMPLE.read_text())
        async with Line(vendor.url) as line, hub_router(vendor, line, tmp_path / "a") as router:
            await router.buy("price_premium_monthly")
            bought = ("email_support", "priority_support", "remote_backup_daily", "security_updates")
            await router.unlocks(*bought)
            shown = await Operations(vendor.hub, "cli:root").show(str((await router.status())["router_id"]))
            await router.world.daemon.stop()
            identity = {"router_id": shown["account"], "customer": shown["customer"]}
            file = router.world.root / "etc/stripe-payments/identity.json"
            file.write_text(json.dumps(identity))
            await router.configure("hub", "")
            await router.world.daemon.start()
            await router.world.daemon_answers()
            assert await router.unlocked() == set(), "only the router's own Stripe account counts now"
            await router.world.set_payments_up()
            await router.call("sync")
            status = await router.status()
            assert (status["seller"], status["router_id"]) == (None, shown["account"])
            (plan,) = (await router.call("subscriptions"))["subscriptions"]
            await router.unlocks(*bought)
            await request_stripe(vendor.cloud, "delete", f"subscriptions/{plan['id']}")
            await router.unlocks()


NEW_SECRET = "n" * 43


@pytest.mark.parametrize("step", ["due", "stored", "announced", "used", "killed", "requested"])
async def test_a_credential_is_exchanged_whenever_the_power_goes(
    vendor: Vendor, line: Line, router: HubRouter, step: str
) -> None:
    """`due`: the old one is 90 days old. `requested`: by the vendor, of a router whose credential is new. The
    others: the power went when the new one was stored, the hub had it, had accepted a request with it, or
    (`killed`, requested by the vendor) in the moment when its answer was on the way.
    """
    daemon, stored = router.world.daemon, router.world.root / "etc/stripe-payments/hub.json"

    def held() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(stored.read_bytes())["hubs"][line.url]
        return found

    before = held()
    if step == "killed":
        line.loses_answers_to = b"/v1/credentials/rotate"
    if step in ("requested", "killed"):
        await Operations(vendor.hub, "cli:root").rotate(before["router_id"])
    else:
        await daemon.kill()
        made = step in ("stored", "announced", "used")
        after = before | ({"rotating": NEW_SECRET} if made else {"since": 0})
        stored.write_text(json.dumps({"hubs": {line.url: after}}))
        if step in ("announced", "used"):
            old, new = Caller(vendor.http, before["secret"]), Caller(vendor.http, NEW_SECRET)
            reply = await old.request("POST", "/v1/credentials/rotate", {"secret": NEW_SECRET})
            assert reply.status_code == 200
            if step == "used":
                await new.state()
        await daemon.start()
    if step == "killed":

        async def begun() -> bool:
            return held()["rotating"] is not None

        await router.world.wait_until(begun)
        await daemon.kill()
        line.loses_answers_to = b""
        await daemon.start()

    async def exchanged() -> bool:
        now = held()
        return now["secret"] != before["secret"] and now["rotating"] is None and now["since"] is not None

    await router.world.wait_until(exchanged)
    assert (await router.status())["router_id"] == before["router_id"]
    await router.buy("lifetime_once")
    await router.unlocks("updates", "backups")
    (known,) = await vendor.hub.routers.find()
    assert known["flags"] == [], "no request came with a credential that was retired"
    assert known["rotation_requested"] is None
    refused = await Caller(vendor.http, before["secret"]).request("GET", "/v1/state")
    assert refused.json()["error"]["code"] == "credential_refused"
    assert not [line for line in router.problems() if "credential_refused" in line]
