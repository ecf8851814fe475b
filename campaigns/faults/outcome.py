"""Whether everything is right after the trouble: bus, UCI, hotplug scripts, listeners, Stripe, files, log."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaigns.faults.pasts import PREMIUM
from campaigns.faults.router_under_test import NotRightError, RefusedError, RouterUnderTest
from campaigns.faults.scenarios import After
from tests.flows.feature_observer import without_repeats
from ubus_py import UbusError

__all__ = ["Leniency", "comes_right", "files_are_whole", "left_over"]

_STAYS_RIGHT_S = 0.3


@dataclass(frozen=True)
class Leniency:
    """What a case cannot ask for. `events_missed`: the listeners' own connection to the bus was cut, and the
    bus does not buffer. `answers_lost`: rpcd could not confirm that the scripts ran, so the call is retried.
    `damaged`: the ledger is corrupt and its outbox lost; the rebuilt one may notify again of payments of the
    last days.
    """

    events_missed: bool = False
    answers_lost: bool = False
    damaged: bool = False


async def comes_right(router: RouterUnderTest, after: Callable[[], After], leniency: Leniency) -> None:
    """Wait without acting until everything is as `after` says, and a moment longer.

    Raises `NotRightError`, which says what is wrong.
    """

    async def wrong_now() -> str | None:
        return await _wrong_with_features(router, after()) or _undelivered(router, after(), leniency)

    deadline = time.monotonic() + router.patience_s
    while True:
        router.stop_at_trouble()
        if (wrong := await wrong_now()) is None:
            await asyncio.sleep(_STAYS_RIGHT_S)
            if (wrong := await wrong_now()) is None:
                break
        if time.monotonic() > deadline:
            raise NotRightError(f"not right {router.patience_s:g} s later: {wrong}")
        await asyncio.sleep(0.1)
    wrong = _wrongly_delivered(router, after(), leniency) or _wrong_at_stripe(router, after(), leniency)
    if wrong is not None:
        raise NotRightError(wrong)


async def _wrong_with_features(router: RouterUnderTest, after: After) -> str | None:
    try:
        features = await router.observer.on_the_bus(timeout_s=5)
        status = await router.call("status")
    except (UbusError, RefusedError) as error:
        return f"no answer: {error}"
    unlocked = {name for name, held in features.items() if held["unlocked"]}
    if unlocked != after.unlocked:
        return f"{sorted(unlocked)} are unlocked instead of {sorted(after.unlocked)}"
    for name in PREMIUM if after.reason else ():
        if (reason := features[name]["reason"]) != after.reason:
            return f"{name} is {reason}, not {after.reason}"
        if after.until is not None and (until := features[name]["until"]) != after.until:
            return f"{name} ends at {until}, not {after.until}"
    customers = [one["id"] for one in router.at_stripe("customer")]
    if status["customer"] not in (customers or [None]):
        return f"the router knows the customer {status['customer']}, Stripe {customers}"
    if any(status["pending"][name] for name in ("events", "effects")):
        return f"still to be done: {status['pending']}"
    return router.observer.disagreement(features)


def _undelivered(router: RouterUnderTest, after: After, leniency: Leniency) -> str | None:
    """What has to be heard, and is not yet."""
    paid = set(router.observer.payments_delivered("paid"))
    if len(paid) < after.paid and not leniency.events_missed:
        return f"listeners heard of {len(paid)} payments instead of {after.paid}"
    heard = router.observer.scripts()
    for name in PREMIUM if after.scripts and not leniency.damaged else ():
        if not heard[name]:
            return f"scripts heard nothing of {name} instead of {list(after.scripts)}"
    return None


def _wrongly_delivered(router: RouterUnderTest, after: After, leniency: Leniency) -> str | None:
    """Once, and for each violent end again; never of a lock in between. Where the end left a ledger
    that may lack its last changes, so that UCI was trusted instead, the change is decided again as well.
    """
    repeats = router.deaths + len(list(router.state.glob("ledger.db.corrupt-*[0-9]")))
    repeats += router.world.daemon.log_text().count('msg="features adopted from UCI"')
    for name, scripts in router.observer.scripts().items():
        expected = list(after.scripts) if name in PREMIUM else []
        at_most = (1 + repeats + leniency.answers_lost) * len(expected)
        if without_repeats(scripts) != expected or len(scripts) > at_most:
            return f"scripts heard {scripts} of {name} instead of {expected}, with {repeats} cuts"
    for name, events in router.observer.listeners().items():
        reported = ["unlock" if event["unlocked"] else "lock" for event in events]
        flips = [word for word in without_repeats(reported) if after.scripts or word == "lock"]
        missed = (leniency.events_missed or leniency.damaged) and not flips
        if flips != list(after.scripts) and not missed:
            return f"listeners heard {reported} of {name} instead of {list(after.scripts)}"
    paid = router.observer.payments_delivered("paid")
    at_most = len(after.charged) if leniency.damaged else after.paid
    if len(set(paid)) > at_most or len(paid) > (1 + repeats) * at_most:
        return f"listeners heard of payments {paid}, with {repeats} cuts"
    return None


def _wrong_at_stripe(router: RouterUnderTest, after: After, leniency: Leniency) -> str | None:
    for kind, number in after.at_stripe.items():
        found = router.at_stripe(kind)
        if kind == "checkout.session" and leniency.damaged:  # one that was never delivered may be left over
            found = [one for one in found if one["status"] == "complete"]
        if len(found) != number:
            return f"Stripe has {len(found)} of {kind} instead of {number}: {[one['id'] for one in found]}"
    charged = tuple(one["amount"] for one in router.at_stripe("charge") if one["paid"])
    if charged != after.charged:
        return f"charged {charged} instead of {after.charged}"
    return f"the simulator drifted: {drift}" if (drift := router.world.stripe.drift) else None


def files_are_whole(router: RouterUnderTest, leniency: Leniency) -> None:
    """Once the daemon is stopped. Raises `NotRightError`."""
    log = router.world.daemon.log_text()
    if "Traceback" in log:
        line = next(line for line in log.splitlines() if "Traceback" in line)
        raise NotRightError(f"the log has a traceback: {line[:120]} … {line[-300:]}")
    aside = [entry.name for entry in router.state.iterdir() if ".corrupt-" in entry.name]
    if aside and not leniency.damaged:
        raise NotRightError(f"a file was taken for damaged: {aside}")
    _same_identity(router, router.past / "router/etc/stripe-payments")
    _whole_ledger(router)


def _same_identity(router: RouterUnderTest, before: Path) -> None:
    for name in ("identity.json", "secrets.json"):
        now = json.loads((router.state / name).read_bytes())
        then = json.loads((before / name).read_bytes()) if (before / name).exists() else {}
        for key, value in then.items():
            if value is not None and now[key] != value:
                raise NotRightError(f"{name} has another {key} than before")
        if (mode := (router.state / name).stat().st_mode & 0o777) != 0o600:
            raise NotRightError(f"{name} has mode {mode:o}")


def _whole_ledger(router: RouterUnderTest) -> None:
    with sqlite3.connect(router.state / "ledger.db") as ledger:
        found = ledger.execute("PRAGMA integrity_check").fetchall()
        unlocked = {name for (name,) in ledger.execute("SELECT feature FROM features WHERE unlocked = 1")}
    ledger.close()
    if found != [("ok",)]:
        raise NotRightError(f"the ledger is damaged: {found[:3]}")
    in_uci = {name for name, held in router.observer.in_uci().items() if held["unlocked"]}
    if in_uci != unlocked:
        raise NotRightError(f"UCI unlocks {sorted(in_uci)}, the ledger {sorted(unlocked)}")
    if left := left_over(router):
        raise NotRightError(f"left over in the ledger: {left}")


def left_over(router: RouterUnderTest) -> str | None:
    """What the ledger of a stopped daemon has still to do."""
    with sqlite3.connect(router.state / "ledger.db") as ledger:
        waiting = ledger.execute("SELECT kind, payload, step FROM outbox WHERE step < 3").fetchall()
        creating = ledger.execute("SELECT count(*) FROM checkouts WHERE state = 'creating'").fetchone()[0]
    ledger.close()
    return f"effects {waiting}, {creating} checkouts" if waiting or creating else None
