"""Webhooks as forgers, eavesdroppers and other accounts send them: the right answer, and no effect."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from simulator.stripe_cloud import StripeCloud
from stripe_payments.stripe_api import sign
from stripe_payments.sync.events import EVENT_TYPES
from tests.unit.stripe_payments.engine import KEY, MONTHLY, ONE_TIME, open_engine, stocked_cloud
from tests.unit.stripe_payments.harness import FEATURE, Harness, Reply, Shop, open_harness, open_shop
from ubus_py import Event

__all__ = ["SECRET", "cross_account", "deliver", "event", "forged", "replayed"]

WEBHOOK = "/api/payments/webhook"
SECRET = "whsec_thisRoutersOwnSecret"
OTHERS = "whsec_anotherAccountsSecret"


def event(event_id: str, kind: str, subject: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": kind,
            "livemode": False,
            "data": {"object": subject},
            **changes,
        }
    ).encode()


async def deliver(
    harness: Harness, body: bytes, header: str | None, *, sender: str = "198.51.100.7"
) -> Reply:
    """`sender`: the address that it comes from."""
    signed = {} if header is None else {"stripe_signature": header}
    return await harness.http(
        "POST", WEBHOOK, body, content_type="application/json", x_remote_addr=sender, **signed
    )


@dataclass(frozen=True)
class _Forgery:
    name: str
    body: bytes
    header: str | None
    right: tuple[int, str | None]
    """Status, and error code (None where it is accepted)."""


_REFUSED = (400, "invalid_signature")
_STALE = (400, "stale_timestamp")
_TAKEN = (200, None)


def _forgeries(body: bytes, now: int) -> Iterator[_Forgery]:
    right = sign(body, SECRET, now)
    wrong = sign(body, OTHERS, now)
    plain = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    weak = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha1).hexdigest()
    long = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha512).hexdigest()
    bare = hmac.new(
        SECRET.removeprefix("whsec_").encode(), f"{now}.".encode() + body, hashlib.sha256
    ).hexdigest()
    headers: list[tuple[str, str | None, tuple[int, str | None]]] = [
        ("no header", None, _REFUSED),
        ("an empty header", "", _REFUSED),
        ("another account's secret", f"t={now},v1={wrong}", _REFUSED),
        ("v0 alone", f"t={now},v0={right}", _REFUSED),
        ("v0 right, v1 wrong", f"t={now},v0={right},v1={wrong}", _REFUSED),
        ("v2 alone", f"t={now},v2={right}", _REFUSED),
        ("the signature without its name", f"t={now},{right}", _REFUSED),
        ("no time", f"v1={right}", _REFUSED),
        ("another time", f"t={now + 1},v1={right}", _REFUSED),
        ("the right time second", f"t={now + 1},t={now},v1={right}", _REFUSED),
        (
            "a time of other digits",
            f"t={str(now).translate({48 + n: 0x660 + n for n in range(10)})},v1={right}",
            _REFUSED,
        ),
        ("a time with a sign", f"t=+{now},v1={right}", _REFUSED),
        ("a time with a blank", f"t= {now},v1={right}", _REFUSED),
        ("a time with a fraction", f"t={now}.0,v1={right}", _REFUSED),
        ("a huge time", f"t={'9' * 400},v1={right}", _REFUSED),
        ("a time before 1970", f"t=-{now},v1={sign(body, SECRET, -now)}", _REFUSED),
        ("capital letters", f"t={now},v1={right.upper()}", _REFUSED),
        ("half a signature", f"t={now},v1={right[:32]}", _REFUSED),
        ("a longer signature", f"t={now},v1={right}00", _REFUSED),
        ("an empty signature", f"t={now},v1=", _REFUSED),
        ("quotes around it", f't={now},v1="{right}"', _REFUSED),
        ("no text", f"t={now},v1=\udcff{right}", _REFUSED),
        ("over the body alone", f"t={now},v1={plain}", _REFUSED),
        ("SHA-1", f"t={now},v1={weak}", _REFUSED),
        ("SHA-512", f"t={now},v1={long}", _REFUSED),
        ("the secret without its prefix", f"t={now},v1={bare}", _REFUSED),
        ("the secret as the signature", f"t={now},v1={SECRET}", _REFUSED),
        ("seventeen signatures, the last right", f"t={now},{f'v1={wrong},' * 16}v1={right}", _REFUSED),
        ("a header of 5 KB", f"t={now},{'x=y,' * 1300}v1={right}", _REFUSED),
        ("genuine, of ten minutes ago", f"t={now - 600},v1={sign(body, SECRET, now - 600)}", _STALE),
        ("genuine, of last year", f"t={now - 3 * 10**7},v1={sign(body, SECRET, now - 3 * 10**7)}", _STALE),
        ("genuine, of 1970", f"t=0,v1={sign(body, SECRET, 0)}", _STALE),
        ("forged, of last year", f"t={now - 3 * 10**7},v1={wrong}", _REFUSED),
    ]
    for name, header, answer in headers:
        yield _Forgery(name, body, header, answer)
    genuine = f"t={now},v1={right}"
    for name, other in (
        ("re-encoded", json.dumps(json.loads(body), indent=1).encode()),
        ("a blank more", body + b" "),
        ("a line end more", body + b"\n"),
        ("its last byte gone", body[:-1]),
        ("half of it", body[: len(body) // 2]),
        ("nothing of it", b""),
        ("twice", body + body),
        ("the other way round", body[::-1]),
        ("livemode changed", body.replace(b"false", b"true ")),
        ("in UTF-8 with a mark", b"\xef\xbb\xbf" + body),
    ):
        yield _Forgery(f"a body {name}", other, genuine, _REFUSED)
    rolled = f"t={now},v1={wrong},v1={right},v0=aa"
    yield _Forgery("a secret being rolled: the second one right", body, rolled, _TAKEN)
    yield _Forgery("blanks after the commas", body, f"t={now}, v1={right}", _TAKEN)


async def _state(shop: Shop) -> tuple[list[str], int, dict[str, bool]]:
    """What a webhook may have an effect on: the inbox, requests about what it names, the features."""
    parts = await shop.harness.parts()
    events = await parts.ledger.read(lambda tx: tx.inbox.due(2**40, 10_000))
    features = {name: held.unlocked for name, held in parts.reconciler.state.entitlements.items()}
    return [one.event_id for one in events], len(shop.stripe.requests(path="/v1/charges/ch_named")), features


async def _listen(shop: Shop) -> None:
    """It knows its secret, and the time."""
    await shop.harness.call("set_keys", webhook_secret=SECRET)
    await shop.harness.call("sync")


async def forged(cases: Cases) -> None:
    """Every way to sign that is not Stripe's; then bits of a genuine delivery flipped at random."""
    with listening() as complaints:
        async with open_shop(cases.folder) as shop:
            await _listen(shop)
            now = await shop.harness.trust_the_clock()
            body = event("evt_forged", "charge.refunded", {"id": "ch_named", "object": "charge"})
            senders = iter(range(10**9))
            for forgery in _forgeries(body, now):
                before = await _state(shop)
                reply = await deliver(
                    shop.harness, forgery.body, forgery.header, sender=f"::{next(senders):x}"
                )
                answer = (reply.status, None if reply.status == 200 else reply.error[1])
                problem = None if answer == forgery.right else f"answered {answer} instead of {forgery.right}"
                if forgery.right != _TAKEN and await _state(shop) != before:
                    problem = "it had an effect"
                cases.note(problem or complaints.taken(), forgery.name)
            genuine = f"t={now},v1={sign(body, SECRET, now)}".encode()
            parts = await shop.harness.parts()

            async def worked_off() -> bool:
                return await parts.ledger.read(lambda tx: tx.inbox.pending_count()) == 0

            await shop.harness.until(worked_off)
            before = await _state(shop)
            for number in cases.rounds():
                given = bytearray(genuine + b"\0" + body)
                for _ in range(cases.chance.choice((1, 1, 2, 5))):
                    place = cases.chance.randrange(len(given))
                    given[place] = given[place] ^ 1 << cases.chance.randrange(8) or 1
                header, _, changed = bytes(given).partition(b"\0")
                if bytes(given) == genuine + b"\0" + body:
                    continue
                sender = f"2001:db8::{number:x}"
                text = header.decode("utf-8", "surrogateescape")
                reply = await deliver(shop.harness, changed.replace(b"\0", b"x"), text, sender=sender)
                problem = complaints.taken()
                if reply.status != 400 or await _state(shop) != before:
                    problem = f"answered {reply.status}, or it had an effect"
                cases.note_input(problem, bytes(given))


async def replayed(cases: Cases) -> None:
    """A recorded genuine delivery: within its five minutes it counts once, and never after."""
    with listening() as complaints:
        async with open_shop(cases.folder) as shop:
            harness = shop.harness
            await _listen(shop)
            delivered: list[Event] = []
            harness.bus.listen("stripe-payments.*", delivered.append)
            session_id = await shop.buy()
            secret_time = (await harness.parts()).clock.now() or 0
            subject = {"id": session_id, "object": "checkout.session"}
            body = event("evt_recorded", "checkout.session.completed", subject)
            header = f"t={secret_time},v1={sign(body, SECRET, secret_time)}"

            def unlocks() -> int:
                return sum(
                    one.data.get("feature") == FEATURE and one.data.get("unlocked") is True
                    for one in delivered
                )

            async def note(name: str, replies: list[Reply], right: tuple[int, str | None]) -> None:
                await (await harness.parts()).inbox.work()
                answers = {
                    (reply.status, None if reply.status == 200 else reply.error[1]) for reply in replies
                }
                problem = None if answers == {right} else f"answered {answers} instead of {right}"
                if unlocks() != 1:
                    problem = f"unlocked {unlocks()} times"
                cases.note(problem or complaints.taken(), name)

            async def unlocked() -> bool:
                return unlocks() > 0

            await harness.until(unlocked)
            await note("for the first time", [await deliver(harness, body, header)], _TAKEN)
            for number in range(10):
                await note(f"again, {number}", [await deliver(harness, body, header)], _TAKEN)
            at_once = await asyncio.gather(*(deliver(harness, body, header) for _ in range(30)))
            await note("thirty at once", list(at_once), _TAKEN)
            await harness.stop_daemon()
            await harness.start_daemon()
            await harness.call("sync")
            await note("after a restart", [await deliver(harness, body, header)], _TAKEN)
            for seconds in (301, 86_400, 100 * 86_400):
                shop.stripe.advance(seconds)
                await harness.call("sync")
                await note(f"{seconds} s later", [await deliver(harness, body, header)], _STALE)


async def cross_account(cases: Cases) -> None:
    """Events of other routers on this account, of other accounts, of the other mode: 200 or 400, and no
    effect.
    """
    with listening() as complaints:
        async with stocked_cloud() as cloud:
            async with open_engine(cloud, cases.folder / "other") as other:
                await other.subscribe(MONTHLY)
                session = await other.buy(ONE_TIME)
                await other.refunds.refund(session, 100)
                cloud.dispute(session)
                router_id = other.identity.load().router_id
            async with open_harness(cases.folder, STRIPE_API_BASE=cloud.url) as harness:
                await harness.call("set_keys", secret_key=KEY, webhook_secret=SECRET)
                await harness.call("sync")
                ours = (await harness.call("status"))["router_id"]
                others = cases.some(list(_of_others(cloud, router_id, ours)))
                for number, (name, body, secret, right) in enumerate(others):
                    now = (await harness.parts()).clock.now() or 0
                    sender = f"2001:db8:1::{number:x}"
                    reply = await deliver(
                        harness, body, f"t={now},v1={sign(body, secret, now)}", sender=sender
                    )
                    problem = None if reply.status == right else f"answered {reply.status} instead of {right}"
                    cases.note(problem or await _effect(harness) or complaints.taken(), name)


def _of_others(cloud: StripeCloud, theirs: str, ours: str) -> Iterator[tuple[str, bytes, str, int]]:
    """Name, body, the secret that signs it, and the right status."""
    kinds = ("checkout.session", "payment_intent", "charge", "refund", "dispute", "invoice", "subscription")
    subjects = [next(cloud.account.newest_first(kind)) for kind in (*kinds, "customer", "price", "product")]
    lies: tuple[dict[str, Any], ...] = (
        {},
        {"metadata": {"router_id": ours}},
        {"metadata": {}, "customer": None},
    )
    number = 0
    for subject in subjects:
        for kind in sorted(EVENT_TYPES):
            for lie in lies:
                number += 1
                reported = {**subject, **lie}
                yield f"{kind} of {subject['id']} {lie}", event(f"evt_{number}", kind, reported), SECRET, 200
    charge = subjects[2]
    yield from (
        ("signed by another account", event("evt_a", "charge.refunded", charge), OTHERS, 400),
        ("of live mode", event("evt_b", "charge.refunded", charge, livemode=True), SECRET, 200),
        ("of no mode", event("evt_c", "charge.refunded", charge, livemode=None), SECRET, 200),
        ("of a connected account", event("evt_d", "charge.refunded", charge, account="acct_2"), SECRET, 200),
        ("an id with a path", event("evt_e", "charge.refunded", {"id": "ch_1/../../refunds"}), SECRET, 200),
        ("an id with a query", event("evt_f", "charge.refunded", {"id": "ch_1?expand[]=x"}), SECRET, 200),
        (
            "an id of 300 characters",
            event("evt_g", "charge.refunded", {"id": "ch_" + "a" * 300}),
            SECRET,
            200,
        ),
        ("the id of an event", event("evt_h", "charge.refunded", {"id": "evt_1"}), SECRET, 200),
        (
            "marked as the other router's",
            event("evt_i", "charge.refunded", {**charge, "metadata": {"router_id": theirs}}),
            SECRET,
            200,
        ),
    )


async def _effect(harness: Harness) -> str | None:
    """What of another router's got in here, None for nothing."""
    parts = await harness.parts()
    await parts.inbox.work()
    state = parts.reconciler.state
    stored, rows = list(state.objects), state.history
    unlocked = [name for name, held in parts.reconciler.state.entitlements.items() if held.unlocked]
    if stored or rows or unlocked:
        return f"it had an effect: stored {stored}, history {rows}, unlocked {unlocked}"
    return None
