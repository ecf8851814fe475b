"""Guessed ids: all that are no session of this router are answered the same, byte for byte,
without Stripe being asked, and ever more slowly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from simulator.stripe_cloud import StripeCloud
from tests.unit.stripe_payments.engine import KEY, MONTHLY, ONE_TIME, open_engine, stocked_cloud
from tests.unit.stripe_payments.harness import Harness, Reply, open_harness

__all__ = ["enumeration"]

STATUS = "/api/payments/status/"
PAGE = "/payment-success"
BURST = 60
_NONCE = re.compile(r"nonce-[A-Za-z0-9_-]+|nonce=\"[A-Za-z0-9_-]+\"")


def _guesses(known: dict[str, str], theirs: dict[str, str], chosen: str) -> Iterator[tuple[str, str]]:
    """Name and id. `known`: what this router's own payment has besides its session; `theirs`: another's."""
    session = known["checkout.session"]
    for kind, object_id in known.items():
        if kind != "checkout.session":
            yield f"our own {kind}", object_id
    for kind, object_id in theirs.items():
        yield f"another router's {kind}", object_id
    yield "in other letters", session.swapcase()
    yield "one letter less", session[:-1]
    yield "one letter more", session + "a"
    yield "one letter changed", session[:-1] + ("a" if session[-1] != "a" else "b")
    yield "its beginning", session[:12]
    yield "of live mode", session.replace("cs_test_", "cs_live_")
    yield "without its mode", session.replace("cs_test_", "cs_")
    yield "a pattern", "cs_test_" + "_" * 20
    yield "invented", f"cs_test_{chosen}"
    yield "255 characters", "cs_test_" + "a" * 247


async def _one_of_each(cloud: StripeCloud, customer: str | None) -> dict[str, str]:
    """The newest object of each kind that belongs to a customer."""
    found: dict[str, str] = {}
    account = cloud.account
    for kind in (
        "checkout.session",
        "payment_intent",
        "charge",
        "invoice",
        "subscription",
        "refund",
        "customer",
    ):
        for held in account.newest_first(kind):
            if customer in (held.get("customer"), held["id"]) or kind == "refund":
                found[kind] = str(held["id"])
                break
    return found


async def enumeration(cases: Cases) -> None:
    """Both ways to ask: the status as JSON, and the page."""
    with listening() as complaints:
        async with stocked_cloud() as cloud:
            async with open_engine(cloud, cases.folder / "other") as other:
                await other.subscribe(MONTHLY)
                await other.refunds.refund(await other.buy(ONE_TIME), 1)
                theirs = await _one_of_each(cloud, other.identity.load().customer)
            async with open_engine(cloud, cases.folder / "router/etc/stripe-payments") as own:
                await own.subscribe(MONTHLY)
                await own.buy(ONE_TIME)
                ours = await _one_of_each(cloud, own.identity.load().customer)
            async with open_harness(cases.folder, STRIPE_API_BASE=cloud.url) as harness:
                await harness.call("set_keys", secret_key=KEY)
                await harness.call("sync")
                mine = await _ask(harness, STATUS + ours["checkout.session"], 0)
                cases.note(None if mine.status == 200 else f"answered {mine.status}", "our own session")
                wrong = {
                    path: await _ask(harness, path + "cs_test_nobody", 1) for path in (STATUS, _PAGE_QUERY)
                }
                chosen = "".join(cases.chance.choices("abcXYZ019", k=40))
                for number, (name, guess) in enumerate(_guesses(ours, theirs, chosen), start=2):
                    for path, unknown in wrong.items():
                        since = len(cloud.requests())
                        reply = await _ask(harness, path + guess, number)
                        problem = _differs(reply, unknown) or _asked(cloud, guess, since)
                        cases.note(problem or complaints.taken(), f"{path}: {name}")
                await _slowed(harness, cases, ours["checkout.session"])


_PAGE_QUERY = f"{PAGE}?session_id="


async def _ask(harness: Harness, target: str, sender: int) -> Reply:
    path, _, query = target.partition("?")
    return await harness.http("GET", path, query=query, x_remote_addr=f"2001:db8:2::{sender:x}")


def _differs(reply: Reply, unknown: Reply) -> str | None:
    """Whether an answer says more than that of an unknown id."""
    if (reply.status, _NONCE.sub("", reply.body)) != (unknown.status, _NONCE.sub("", unknown.body)):
        return f"answered {reply.status} {reply.body[:200]}"
    names = {name: _NONCE.sub("", value) for name, value in reply.headers.items()}
    return (
        None
        if names == {name: _NONCE.sub("", value) for name, value in unknown.headers.items()}
        else f"{names}"
    )


def _asked(cloud: StripeCloud, guess: str, since: int) -> str | None:
    paths = [str(row["path"]) for row in cloud.requests()[since:]]
    return "Stripe was asked about it" if any(path.endswith(f"/{guess}") for path in paths) else None


async def _slowed(harness: Harness, cases: Cases, ours: str) -> None:
    """After a burst an address has to wait, on both paths together; a real id is exempt."""
    answers = await asyncio.gather(*(_ask(harness, f"{STATUS}cs_test_{n}", 0xFFFF) for n in range(BURST * 2)))
    statuses = [reply.status for reply in answers]
    waits = all(reply.headers.get("Retry-After", "0").isdigit() for reply in answers)
    problem = (
        None if statuses.count(404) <= BURST + 5 and 429 in statuses and waits else f"answered {statuses}"
    )
    cases.note(problem, "the burst of one address")
    page = await _ask(harness, f"{_PAGE_QUERY}cs_test_x", 0xFFFF)
    cases.note(None if page.status == 429 else f"answered {page.status}", "the pages afterwards")
    own = await _ask(harness, STATUS + ours, 0xFFFF)
    cases.note(None if own.status == 200 else f"answered {own.status}", "a real id from the same address")
    fresh = await _ask(harness, f"{STATUS}cs_test_x", 0xFFFE)
    cases.note(None if fresh.status == 404 else f"answered {fresh.status}", "another address")
