"""The rows of docs/states.md: each a situation, put to the real rules."""

from dataclasses import dataclass
from typing import Any, Final

from stripe_payments.entitlements import Entitlement, ManualGrant, Purchase, Subscription, entitlements
from stripe_payments.i18n import Text
from stripe_payments.settings import Feature, Plan, Price, Product, Settings

DAY: Final = 86_400
NOW: Final = 1_750_000_000
END: Final = NOW + 10 * DAY
EARLIER: Final = NOW + DAY
GRACE_DAYS, OFFLINE_DAYS = 7, 30

_NO: Final = Text("", "")
_SETTINGS: Final = Settings(
    grace_days=GRACE_DAYS,
    offline_days=OFFLINE_DAYS,
    plans={"plan": Plan("plan", _NO, _NO, ("feature",))},
    products={"once": Product("once", _NO, _NO, ("feature",))},
    prices={
        "monthly": Price("monthly", "plan", "price_1", 499, "eur", "month"),
        "once_1": Price("once_1", "once", "price_2", 4999, "eur", None),
    },
    features={"feature": Feature("feature", _NO, _NO)},
)

Source = Subscription | Purchase | ManualGrant


@dataclass(frozen=True)
class Situation:
    """`words`: how the documentation calls it; `now`, `last_contact`: trusted epoch seconds."""

    words: Text
    sources: tuple[Source, ...]
    now: int | None = NOW
    last_contact: int = NOW

    def decide(self) -> Entitlement:
        """What the rules say of the one feature."""
        return entitlements(
            [one for one in self.sources if isinstance(one, Subscription)],
            [one for one in self.sources if isinstance(one, Purchase)],
            _SETTINGS,
            self.now,
            last_contact=self.last_contact,
            previous={},
            grants=[one for one in self.sources if isinstance(one, ManualGrant)],
        )["feature"]

    def row(self, locale: str) -> tuple[str, str, str, str]:
        """Situation, unlocked or locked, reason, until."""
        decided = self.decide()
        state = _UNLOCKED if decided.unlocked else _LOCKED
        until = (
            _UNTIL[decided.until] if decided.until in _UNTIL else Text(str(decided.until), str(decided.until))
        )
        return (
            self.words.in_locale(locale),
            state.in_locale(locale),
            f"`{decided.reason}`",
            until.in_locale(locale),
        )


_UNLOCKED: Final = Text("**unlocked**", "**sbloccata**")
_LOCKED: Final = Text("locked", "bloccata")
_UNTIL: Final[dict[int | None, Text]] = {
    None: Text("–", "–"),
    END: Text("end of the period", "fine del periodo"),
    EARLIER: Text("that moment", "quel momento"),
    NOW - DAY: Text("that moment", "quel momento"),
    NOW + 2 * DAY: Text("end of the trial", "fine della prova"),
    NOW + GRACE_DAYS * DAY: Text("due date + `grace_days`", "scadenza + `grace_days`"),
    NOW - (10 - GRACE_DAYS) * DAY: Text("due date + `grace_days`", "scadenza + `grace_days`"),
}


def _plan(status: str = "active", **fields: Any) -> Subscription:
    facts: dict[str, Any] = {"id": "sub_1", "price_id": "price_1", "current_period_end": END}
    return Subscription(**(facts | fields), status=status)


def _once(**fields: Any) -> Purchase:
    facts: dict[str, Any] = {"id": "cs_1", "price_id": "price_2", "paid": True}
    return Purchase(**(facts | fields))


SITUATIONS: Final = (
    Situation(Text("nothing was bought", "nessun acquisto"), ()),
    Situation(Text("subscription `active`", "abbonamento `active`"), (_plan(),)),
    Situation(
        Text("subscription `trialing`", "abbonamento `trialing`"),
        (_plan("trialing", trial_end=NOW + 2 * DAY),),
    ),
    Situation(
        Text("`cancel_at_period_end`, before the end", "`cancel_at_period_end`, prima della fine"),
        (_plan(cancel_at_period_end=True),),
    ),
    Situation(
        Text("`cancel_at`, before that moment", "`cancel_at`, prima di quel momento"),
        (_plan(cancel_at=EARLIER),),
    ),
    Situation(
        Text("`cancel_at`, that moment has passed", "`cancel_at`, quel momento è passato"),
        (_plan(cancel_at=NOW - DAY),),
    ),
    Situation(
        Text("`past_due`, within `grace_days`", "`past_due`, entro `grace_days`"),
        (_plan("past_due", past_due_since=NOW),),
    ),
    Situation(
        Text("`past_due`, after `grace_days`", "`past_due`, oltre `grace_days`"),
        (_plan("past_due", past_due_since=NOW - 10 * DAY),),
    ),
    Situation(Text("`unpaid`", "`unpaid`"), (_plan("unpaid"),)),
    Situation(Text("`incomplete`", "`incomplete`"), (_plan("incomplete"),)),
    Situation(Text("`incomplete_expired`", "`incomplete_expired`"), (_plan("incomplete_expired"),)),
    Situation(Text("`paused`", "`paused`"), (_plan("paused"),)),
    Situation(
        Text(
            "`pause_collection` is set, whatever the status",
            "`pause_collection` impostato, con qualsiasi stato",
        ),
        (_plan(paused_collection=True),),
    ),
    Situation(Text("`canceled`", "`canceled`"), (_plan("canceled"),)),
    Situation(
        Text("any unknown status", "qualsiasi stato sconosciuto"),
        (_plan("resting"),),
    ),
    Situation(
        Text(
            "everything paid for the current period was refunded",
            "tutto ciò che era stato pagato per il periodo in corso è stato rimborsato",
        ),
        (_plan(returned="refunded"),),
    ),
    Situation(
        Text(
            "everything paid for the current period was lost in a dispute",
            "tutto ciò che era stato pagato per il periodo in corso è stato perso in una contestazione",
        ),
        (_plan(returned="disputed"),),
    ),
    Situation(
        Text(
            "`active`, but Stripe unreachable for `offline_days` after the end of the period",
            "`active`, ma nessuna risposta da Stripe per `offline_days` dopo la fine del periodo",
        ),
        (_plan(),),
        now=END + OFFLINE_DAYS * DAY,
    ),
    Situation(
        Text(
            "`active`, the period has ended, and the router does not know the time",
            "`active`, il periodo è finito e il router non conosce l'ora",
        ),
        (_plan(),),
        now=None,
    ),
    Situation(Text("one-time purchase, paid", "acquisto singolo, pagato"), (_once(),)),
    Situation(
        Text("a total of nothing (voucher)", "totale pari a zero (buono)"),
        (_once(),),
    ),
    Situation(
        Text("bank debit that has not arrived", "addebito bancario non ancora arrivato"), (_once(paid=False),)
    ),
    Situation(Text("refunded in part", "rimborsato in parte"), (_once(),)),
    Situation(Text("refunded in full", "rimborsato per intero"), (_once(fully_refunded=True),)),
    Situation(Text("dispute open", "contestazione aperta"), (_once(dispute="open"),)),
    Situation(Text("dispute won", "contestazione vinta"), (_once(dispute="won"),)),
    Situation(Text("dispute lost", "contestazione persa"), (_once(dispute="lost"),)),
    Situation(
        Text("granted by the administrator", "concessa dall'amministratore"), (ManualGrant("feature"),)
    ),
    Situation(
        Text("granted until a moment", "concessa fino a un momento"), (ManualGrant("feature", EARLIER),)
    ),
    Situation(
        Text("granted, that moment has passed", "concessa, quel momento è passato"),
        (ManualGrant("feature", NOW - DAY),),
    ),
    Situation(
        Text(
            "subscription `canceled`, and a one-time purchase that is paid",
            "abbonamento `canceled` e un acquisto singolo pagato",
        ),
        (_plan("canceled"), _once()),
    ),
    Situation(
        Text(
            "subscription `past_due` within grace, and another one `active`",
            "abbonamento `past_due` entro la tolleranza e un altro `active`",
        ),
        (_plan("past_due", past_due_since=NOW), _plan(id="sub_2")),
    ),
)
