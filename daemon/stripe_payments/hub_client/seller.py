"""The seller's hub as this router knows it: enrols, polls, and keeps what it said in the ledger.

A poll whose answer differs is one transaction: the answer itself, the features, the notifications. With the
hub away the last answer counts, as `hub_state` says. The hub sets the time between two polls; while a buyer
pays, the next poll waits at the hub for the change.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from stripe_payments import __version__
from stripe_payments.backoff import Backoff
from stripe_payments.clock import META_CLOCK_FLOOR
from stripe_payments.entitlements import Entitlement, changes
from stripe_payments.errors import PaymentError
from stripe_payments.hub_client.hub_error import HubRefusalError
from stripe_payments.hub_client.hub_state import (
    HubState,
    entitlements_at,
    next_end,
    read_state,
    seller_settings,
)
from stripe_payments.hub_client.rotation import Rotation
from stripe_payments.hub_client.transport import Answer, unreachable
from stripe_payments.ledger.opening import META_MUST_NOT_LOCK, META_REBUILDING
from stripe_payments.log import Log
from ubus_py import Table, UbusError

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.hub_client.credential import CredentialStore
    from stripe_payments.hub_client.transport import Transport
    from stripe_payments.ledger import SQLiteLedger, SQLiteTransaction
    from stripe_payments.ledger.queues import EffectKind
    from stripe_payments.settings import Settings
    from ubus_py import Encodable

__all__ = ["Seller"]

_log = Log("hub")

META_STATE: Final = "hub_state"

_LONGEST_POLL_S: Final = 86_400
_SHORTEST_POLL_S: Final = 1
_IN_USE_S: Final = 5
"""Until the credential is exchanged where other requests have to end first."""
_JITTER: Final = 0.1
"""Applied after the cap: else all routers at the cap would poll in the same second."""
_FIRST_RETRY_S: Final = 2.0
_LONGEST_RETRY_S: Final = 900.0
_LONGEST_BUYERS_RETRY_S: Final = 10.0
"""While a buyer pays: who has paid does not wait for what an outage made of the delays."""
_WAIT_S: Final = 20
"""``Prefer: wait`` while a buyer pays."""
_WATCHED_S: Final = 1800.0
"""How long after the start of a purchase the hub is asked to wait for its end."""
_CONTACT_EVERY: Final = 3600
"""Seconds between two records of the last contact: flash wears."""
_SOON_S: Final = 30.0
"""Polls that many routers begin at the same moment are spread over so long."""
_STANDING: Final = frozenset({"credential_refused", "router_revoked", "router_replaced"})
"""Refusals that stay until the seller does something."""


class Bus(Protocol):
    """What is needed of the bus; `ubus_py.Client` has it."""

    async def call(
        self,
        object: str,  # noqa: A002 - as the protocol has it
        method: str,
        args: Mapping[str, Encodable] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Table:
        """Call a method."""
        ...


class Seller:
    """`load` once, then `run`. `entitlements`: every feature as it is now; `problem`: why the last request to
    the hub failed, None while it succeeds; `last_contact`: trusted epoch seconds.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        transport: Transport,
        credentials: CredentialStore,
        clock: TrustedClock,
        settings: Callable[[], Settings],
        bus: Bus,
        on_effects: Callable[[Mapping[str, Entitlement]], None],
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._local = settings
        self._bus = bus
        self._on_effects = on_effects
        self._rotation = Rotation(credentials, transport.url, self._announce, self._probe)
        self._wakeup = asyncio.Event()
        self.refreshed = asyncio.Event()
        """Set after each answer that differed; who waits for it clears it."""
        self._watched_until = 0.0
        self._leaving = False
        """Nothing is being bought any more; the next poll is the last one as a buyer's."""
        self._newest_start = 0.0
        self._writing = asyncio.Lock()
        self._chance = Random()  # noqa: S311 - spreads load, keeps no secret
        self._backoff = Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        self._recorded_contact = 0
        self._settings_of: tuple[Settings, Settings] | None = None
        """This router's settings, and those with the seller's catalog."""
        self._events_due: tuple[tuple[EffectKind, Mapping[str, Any]], ...] = ()
        self.state = HubState()
        self.entitlements: Mapping[str, Entitlement] = {}
        self.problem: PaymentError | None = None
        self.problem_since: int | None = None
        self.last_contact: int | None = None

    @property
    def router_id(self) -> str | None:
        """The hub's name of this router; None until it has enrolled."""
        return self._rotation.held.router_id if self._rotation.held is not None else None

    @property
    def standing(self) -> str | None:
        """The code with which the hub refuses this router, None where it does not."""
        return self.problem.code if self.problem is not None and self.problem.code in _STANDING else None

    @property
    def reachability(self) -> str:
        """``ok``, ``unreachable``, ``unauthorized`` (the hub refuses this router), ``unconfigured`` (it has
        not enrolled), ``unknown`` (no request yet).
        """
        if self.problem is None:
            return "ok" if self.last_contact is not None else "unknown"
        if self.problem.code == "seller_unreachable":
            return "unreachable"
        return "unauthorized" if self.standing is not None else "unconfigured"

    def settings(self) -> Settings:
        """This router's settings with the seller's catalog."""
        local = self._local()
        if self._settings_of is None or self._settings_of[0] is not local:
            self._settings_of = (local, seller_settings(self.state, local))
        return self._settings_of[1]

    async def load(self) -> None:
        """What the ledger knows of this hub, and what is unlocked by it now."""
        await self._rotation.load()
        found = await self._ledger.read(lambda tx: tx.meta.get(META_STATE))
        held = json.loads(found) if found else {}
        if held.get("url") == self._transport.url:
            with suppress(ValueError):
                self.state = read_state(held["body"], held["etag"])
                self.last_contact = held["last_contact"]
            if isinstance(code := held.get("refused"), str):
                self._failed(PaymentError(code))
        if self.state.etag:
            await self.recompute()
        else:  # what was unlocked before stays until the hub has said what was bought
            self.entitlements = await self._ledger.read(lambda tx: tx.features.all())
        opened = await self._ledger.read(lambda tx: tx.checkouts.open())
        if opened:
            self.watch()

    def watch(self) -> None:
        """A buyer is about to pay: poll at once, and wait at the hub for the change."""
        self._watched_until = time.monotonic() + _WATCHED_S
        self._leaving = False
        self.poll_soon()

    def unwatch(self) -> None:
        """Nothing is being bought any more. What was bought is still polled for as a buyer does: a hub that
        cannot answer the fleet for a moment sends it away for minutes.
        """
        self._leaving = True

    def poll_soon(self, *, spread: bool = False) -> None:
        """Poll now, whatever the backoff; `spread`: within half a minute."""
        if spread:
            delay = self._chance.uniform(0, _SOON_S)
            asyncio.get_running_loop().call_later(delay, self._wakeup.set)
        else:
            self._wakeup.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wakeup.clear()
            delay = await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wakeup.wait()

    async def _round(self) -> float:
        """Enrol where that is due, poll; the seconds until the next round."""
        started = time.monotonic()
        try:
            await self._enroll()
            watched, leaving = time.monotonic() < self._watched_until, self._leaving
            changed = await self.refresh(wait=watched)
            if leaving and self._leaving:  # it began after the purchase had ended
                self._watched_until, self._leaving = 0.0, False
            rotated = await self._rotation.rotate_if_due(self._clock.now())
        except PaymentError as error:
            if self.state.etag:
                await self.recompute()
            wait = error.details.get("retry_after")
            delay = self._backoff.next_delay()
            if time.monotonic() < self._watched_until:
                delay = min(delay, _LONGEST_BUYERS_RETRY_S)
            if isinstance(wait, int):
                delay = max(delay, wait * self._chance.uniform(1.0, 1.25))
            return self._until_next_end(delay)
        self._backoff.reset()
        if not changed:
            await self.recompute()
        if time.monotonic() < self._watched_until:
            waited = time.monotonic() - started >= _SHORTEST_POLL_S
            return 0.0 if changed or waited else _SHORTEST_POLL_S
        longest = _LONGEST_POLL_S if rotated else _IN_USE_S
        capped = min(max(self.state.poll_after, _SHORTEST_POLL_S), longest)
        return self._until_next_end(capped * self._chance.uniform(1 - _JITTER, 1 + _JITTER))

    def _until_next_end(self, delay: float) -> float:
        """`delay`, or the time until a feature locks for age."""
        now = self._clock.now()
        if now is None:
            return delay
        end = next_end(self.state, now, self.last_contact, self.standing)
        return delay if end is None else max(min(delay, end - now), _SHORTEST_POLL_S)

    # -- enrolling --------------------------------------------------------------------------------

    async def _enroll(self) -> None:
        """Enrol this router, unless it has enrolled and is not refused. Raises PaymentError."""
        url, code = self._transport.url, self._local().hub_code
        credential = self._rotation.held
        assert credential is not None
        secret = credential.secret
        if credential.router_id is not None:
            if code is None:
                return
            if self.standing is None:
                await self._forget_code(code)
                return
            # the seller gave a router that it refuses another code
            credential = await asyncio.to_thread(self._credentials.with_next, url, credential)
            self._rotation.held = credential
            secret = credential.next or credential.secret
        body: dict[str, object] = {"secret": secret, "board": await self._board(), "version": __version__}
        if code is not None:
            body["code"] = code
        answer = await self._send("POST", "/v1/enrollments", body, secret=None)
        try:
            enrolled = await asyncio.to_thread(
                self._credentials.enrolled, url, secret, answer.body.get("router_id")
            )
        except ValueError as error:
            raise self._failed(unreachable("answer")) from error
        self._rotation.enrolled(enrolled)
        _log.info("enrolled with the seller", router_id=enrolled.router_id)
        if code is not None:
            await self._forget_code(code)

    async def _forget_code(self, code: str) -> None:
        """Remove the used code from UCI. What fails is repeated at the next poll."""
        try:
            await self._bus.call("stripe-payments.uci", "forget_hub_code", {"code": code}, timeout=8.0)
        except UbusError as error:
            _log.warning("the enrolment code is still in the configuration", reason=error)

    async def _board(self) -> str:
        board: object = None
        with suppress(UbusError):
            board = (await self._bus.call("system", "board", timeout=2.0)).get("board_name")
        return board[:128] if isinstance(board, str) and board.isprintable() else "unknown"

    # -- requests ---------------------------------------------------------------------------------

    async def request(
        self,
        verb: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 15.0,
    ) -> Answer:
        """A request with this router's credential. Raises PaymentError: ``not_enrolled``, or the reason why
        it has not enrolled; ``seller_unreachable``; the hub's refusal.
        """
        if self.router_id is None:
            raise self.problem or PaymentError("not_enrolled")
        async with self._rotation.secret() as secret:
            return await self._send(verb, path, body, secret=secret, headers=headers, timeout=timeout)

    async def _announce(self, secret: str, following: str) -> None:
        await self._send("POST", "/v1/credentials/rotate", {"secret": following}, secret=secret)

    async def _probe(self, secret: str) -> None:
        """A request under a secret that the hub may not know, which says nothing of this router then."""
        headers = {"If-None-Match": self.state.etag} if self.state.etag else None
        await self._send("GET", "/v1/state", None, secret=secret, headers=headers, probing=True)

    async def _send(
        self,
        verb: str,
        path: str,
        body: Mapping[str, object] | None,
        *,
        secret: str | None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 15.0,
        probing: bool = False,
    ) -> Answer:
        sent = {"Accept-Language": "en", **(headers or {})}
        if secret is not None:
            sent["Authorization"] = f"Bearer {secret}"
        try:
            answer = await self._transport.request(verb, path, body, headers=sent, timeout=timeout)
        except PaymentError as error:
            raise self._failed(error) from error
        _log.debug("request", request=f"{verb} {path}", status=answer.status)
        if answer.status < 400:
            self._contacted()
            return answer
        refusal = HubRefusalError.of(answer, sent["Accept-Language"])
        if refusal is None:
            raise self._failed(unreachable("answer", f"HTTP {answer.status}", retry_after=answer.retry_after))
        if probing and refusal.code == "credential_refused":
            raise refusal
        if refusal.code in _STANDING or secret is None:
            await self._refused(refusal)
        else:
            self._contacted()
        raise refusal

    def _contacted(self) -> None:
        if self.problem is not None:
            _log.info("the hub serves this router again")
        self.problem, self.problem_since = None, None
        now = self._clock.now()
        if now is not None:
            self.last_contact = now

    def _failed(self, error: PaymentError) -> PaymentError:
        """Record why the hub does not serve this router. A refusal is not forgotten for a lost connection."""
        if self.standing is not None and error.code not in _STANDING:
            return error
        if self.problem is None or self.problem.code != error.code:
            self.problem_since = self._clock.now()
            _log.warning(
                "the seller's hub does not serve this router",
                code=error.code,
                reason=error,
                detail=error.details.get("detail"),
            )
        self.problem = error
        return error

    async def _refused(self, refusal: PaymentError) -> None:
        before = self.standing
        self._failed(refusal)
        if self.standing is not None and self.standing != before:
            async with self._writing:
                await self._recompute(record=True)

    # -- the state --------------------------------------------------------------------------------

    async def refresh(self, *, wait: bool = False) -> bool:
        """Poll the state; whether it was another one. Raises as `request`."""
        headers = {"If-None-Match": self.state.etag} if self.state.etag else {}
        if wait:
            headers["Prefer"] = f"wait={_WAIT_S}"
        started = time.monotonic()
        answer = await self.request(
            "GET", "/v1/state", headers=headers, timeout=15.0 + (_WAIT_S if wait else 0)
        )
        self._rotation.requested = "rotate-credential" in answer.headers
        if answer.status == 304:
            if answer.poll_after is not None:
                self.state = replace(self.state, poll_after=answer.poll_after)
            await self._record_contact()
            return False
        try:
            state = read_state(answer.body, answer.headers.get("etag", ""))
        except ValueError as error:
            raise self._failed(unreachable("version", error)) from error
        async with self._writing:
            if started < self._newest_start:  # of two that overlapped, the later one is in force
                self._wakeup.set()
                return False
            self._newest_start = started
            self._events_due = self._events_after(state)
            self.state = state
            self._settings_of = None
            await self._recompute(record=True)
        self.refreshed.set()
        return True

    def _events_after(self, state: HubState) -> tuple[tuple[EffectKind, Mapping[str, Any]], ...]:
        """The payments and subscriptions that are news; none of a first state, which has those of years."""
        if not self.state.etag:
            return ()
        newest = max((number for number, _kind, _payload in self.state.events), default=0)
        return tuple((kind, payload) for number, kind, payload in state.events if number > newest)

    async def recompute(self) -> tuple[str, ...]:
        """What is unlocked now, by the last state and the time; the names of the features that changed."""
        if not self.state.etag:
            return ()
        async with self._writing:
            return await self._recompute()

    async def _recompute(self, *, record: bool = False) -> tuple[str, ...]:
        """`record`: the answer is stored in the same transaction."""
        now = self._clock.now() or self._clock.floor  # the floor is past for certain
        wanted = entitlements_at(self.state, now, self.last_contact, self.standing)
        due, self._events_due = self._events_due, ()
        recorded = self._recorded() if record else None

        def run(tx: SQLiteTransaction) -> tuple[dict[str, Entitlement], tuple[str, ...]]:
            before = tx.features.all()
            after = {name: Entitlement(name) for name in before} | wanted
            changed = changes(before, after)
            for kind, payload in due:
                tx.outbox.add(kind, payload)
            for change in changed:
                tx.outbox.add("feature", change.payload())
            tx.features.replace(after)
            if recorded is not None:
                tx.meta.set(META_STATE, recorded)
            if (changed or recorded) and self._clock.floor is not None:
                tx.meta.set(META_CLOCK_FLOOR, str(self._clock.floor))
            for name in (META_REBUILDING, META_MUST_NOT_LOCK):
                tx.meta.delete(name)
            return after, tuple(change.after.feature for change in changed)

        try:
            self.entitlements, changed = await self._ledger.write(run)
        except BaseException:
            self._events_due = due + self._events_due
            raise
        if record:
            self._recorded_contact = self.last_contact or 0
        if changed or due:
            self._on_effects(self.entitlements)
        if changed:
            _log.info("features changed", features=",".join(changed))
        return changed

    async def _record_contact(self) -> None:
        if (self.last_contact or 0) - self._recorded_contact >= _CONTACT_EVERY:
            await self._record()

    async def _record(self) -> None:
        recorded = self._recorded()
        await self._ledger.write(lambda tx: tx.meta.set(META_STATE, recorded))
        self._recorded_contact = self.last_contact or 0

    def _recorded(self) -> str:
        """What `load` reads at the next start."""
        held = {
            "url": self._transport.url,
            "etag": self.state.etag,
            "body": {name: value for name, value in self.state.body.items() if name != "statement"},
            "last_contact": self.last_contact,
            "refused": self.standing,
        }
        return json.dumps(held, separators=(",", ":"), ensure_ascii=False)
