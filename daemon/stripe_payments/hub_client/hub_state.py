"""What the hub said last of this router, and what is unlocked by it. Pure.

The hub decides what was paid for; time goes on without it. An end that it announced (a cancellation, the end
of grace or of a grant) holds by itself. A period that should have been renewed is not an end: only
`offline_days` after it, and after the last contact, it counts as one. For a router that the seller has
blocked nothing renews: what it has ends on its day. A router that was replaced has nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.entitlements import Entitlement
from stripe_payments.i18n import LANGUAGES, Title
from stripe_payments.rfc3339 import parse_time
from stripe_payments.settings import Feature, Plan, Price, Product, Settings

if TYPE_CHECKING:
    from stripe_payments.ledger.queues import EffectKind

__all__ = ["HubState", "entitlements_at", "next_end", "read_state", "seller_settings"]

_DAY: Final = 86_400
_AFTER: Final[Mapping[str, str]] = {"ending": "canceled", "grace": "past_due", "granted": "expired"}
"""Why a feature is locked after the end that its reason announced."""

_PURCHASE: Final = ("payment_id", "price", "state", "created")

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubState:
    """`body`: the answer to ``GET /v1/state``, with `etag`; `disputed`: the features whose payment is under
    dispute; `poll_after` in seconds.
    """

    body: Body = field(default_factory=dict)
    etag: str = ""
    features: Mapping[str, Entitlement] = field(default_factory=dict)
    disputed: Collection[str] = ()
    poll_after: int = 900
    offline_days: int = 30

    @property
    def mode(self) -> str:
        """``test`` or ``live``; ``unconfigured`` before the first contact."""
        mode = self.body.get("mode")
        return mode if mode in ("test", "live") else "unconfigured"

    @property
    def seller(self) -> str | None:
        """The seller's name."""
        seller = self.body.get("seller")
        name = seller.get("name") if isinstance(seller, Mapping) else None
        return name if isinstance(name, str) else None

    @property
    def events(self) -> Sequence[tuple[int, EffectKind, Body]]:
        """The newest payments and subscriptions that listeners are notified of: (number, kind, payload)."""
        return [(one["number"], one["kind"], one["payload"]) for one in self.body.get("events", ())]

    def shown(self, locale: str | None) -> Body:
        """`subscriptions`, `transactions`, `next` and `catalog` in a language."""
        found = self.body.get("it" if locale == "it" else "en")
        return found if isinstance(found, Mapping) else {}

    @property
    def processing_purchases(self) -> list[Body]:
        """Purchases whose bank debit is processing, as `status` shows them."""
        found: Sequence[Body] = self.body.get("purchases", ())
        return list(found)


def read_state(body: Body, etag: str) -> HubState:
    """Check what the rest of the daemon relies on. Raises ValueError for something that is no state."""
    features = body.get("features")
    poll_after, offline_days = body.get("poll_after"), body.get("offline_days")
    if not isinstance(features, Mapping) or not isinstance(poll_after, int) or poll_after < 0:
        raise ValueError("not a state")
    for locale in LANGUAGES:
        shown = body.get(locale)
        if not isinstance(shown, Mapping) or not isinstance(shown.get("catalog"), Mapping):
            raise ValueError("a language is missing")
        for name in ("subscriptions", "transactions"):
            if not isinstance(shown.get(name), list):
                raise ValueError(f"no {name}")
    for event in body.get("events", ()):
        if not isinstance(event.get("number"), int) or not isinstance(event.get("payload"), Mapping):
            raise ValueError("not an event")
        if event.get("kind") not in ("payment", "subscription"):
            raise ValueError("an unknown kind of event")
    for begun in body.get("purchases", ()):
        if not isinstance(begun, Mapping) or not all(isinstance(begun.get(name), str) for name in _PURCHASE):
            raise ValueError("not a purchase")
    state = HubState(
        body=body,
        etag=etag,
        features={name: _entitlement(name, held) for name, held in features.items()},
        disputed={name for name, held in features.items() if held.get("disputed") is True},
        poll_after=poll_after,
        offline_days=offline_days if isinstance(offline_days, int) and 0 <= offline_days <= 3650 else 30,
    )
    try:
        seller_settings(state, Settings.DEFAULTS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a catalog") from error
    return state


def _entitlement(name: str, held: object) -> Entitlement:
    if not isinstance(held, Mapping) or not isinstance(held.get("unlocked"), bool):
        raise ValueError("not a feature")
    texts = {option: held.get(option) for option in ("source", "plan", "reason")}
    source, plan, reason = (text if isinstance(text, str) else "" for text in texts.values())
    until = held.get("until")
    end = parse_time(until) if isinstance(until, str) else None
    return Entitlement(name, held["unlocked"], source, plan, end, reason or "none")


def entitlements_at(
    state: HubState, now: int | None, last_contact: int | None, problem: str | None
) -> dict[str, Entitlement]:
    """Every feature as of `now`, trusted epoch seconds, or a time that is certainly past; None: nothing locks
    for age. `problem`: the code with which the hub refused this router last.
    """
    if problem == "router_replaced":
        return {name: Entitlement(name, reason="canceled") for name in state.features}
    return {
        name: held
        if now is None
        or (lock := _lock(held, state, last_contact, problem)) is None
        # what ends in this very second has ended
        or now < lock[0]
        else replace(held, unlocked=False, reason=lock[1])
        for name, held in state.features.items()
    }


def next_end(state: HubState, now: int, last_contact: int | None, problem: str | None) -> int | None:
    """When the next feature locks for age, if nothing is heard of the hub until then."""
    locks = [_lock(held, state, last_contact, problem) for held in state.features.values()]
    return min((at for lock in locks if lock is not None and (at := lock[0]) > now), default=None)


def _lock(
    held: Entitlement, state: HubState, last_contact: int | None, problem: str | None
) -> tuple[int, str] | None:
    """When an unlocked feature locks by itself, and for which reason; None: never."""
    if not held.unlocked or held.until is None:
        return None
    if held.reason in _AFTER:
        return held.until, _AFTER[held.reason]
    if problem == "router_revoked":
        return held.until, "expired"
    return max(held.until, last_contact or 0) + state.offline_days * _DAY, "offline"


def seller_settings(state: HubState, local: Settings) -> Settings:
    """The settings with the seller's catalog in place of this router's."""
    english, italian = (state.shown(locale).get("catalog", {}) for locale in LANGUAGES)
    prices: dict[str, Price] = {}
    described = {
        name: Feature(name, *_titles(held, italian.get("features", {}).get(name, held)))
        for name, held in english.get("features", {}).items()
    }
    plans: dict[str, Plan] = {}
    products: dict[str, Product] = {}
    for kind in ("plans", "products"):
        translated = {one["id"]: one for one in italian.get(kind, ())}
        for one in english.get(kind, ()):
            titles = _titles(one, translated.get(one["id"], one))
            if kind == "plans":
                plans[one["id"]] = Plan(one["id"], *titles, tuple(one["features"]))
            else:
                products[one["id"]] = Product(one["id"], *titles, tuple(one["features"]))
            for price in one["prices"]:
                prices[price["id"]] = Price(
                    price["id"],
                    one["id"],
                    price["price_id"],
                    price["amount"],
                    price["currency"],
                    price["interval"],
                    price["trial_days"],
                )
    return replace(local, features=described, plans=plans, products=products, prices=prices)


def _titles(english: Body, italian: Body) -> tuple[Title, Title]:
    title, description = (
        Title(str(english.get(name, "")), str(italian.get(name, ""))) for name in ("title", "description")
    )
    return title, description
