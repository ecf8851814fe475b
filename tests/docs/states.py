"""The rows of docs/states.md: each a situation, put to the real rules."""

from dataclasses import dataclass, replace
from typing import Any, Final

from stripe_payments.entitlements import Entitlement, ManualGrant, Purchase, Subscription, entitlements
from stripe_payments.i18n import Title
from stripe_payments.settings import Feature, Plan, Price, Product, Settings

DAY: Final = 86_400
NOW: Final = 1_750_000_000
END: Final = NOW + 10 * DAY
EARLIER: Final = NOW + DAY
GRACE_DAYS, OFFLINE_DAYS = 7, 30

_NO: Final = Title("", "")
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
    """`words`: how the documentation calls it; `now`, `last_seen`: trusted epoch seconds."""

    words: Title
    sources: tuple[Source, ...]
    now: int | None = NOW
    last_seen: int = NOW
    settings: Settings = _SETTINGS

    def decide(self) -> Entitlement:
        """What the rules say of the one feature."""
        return entitlements(
            [one for one in self.sources if isinstance(one, Subscription)],
            [one for one in self.sources if isinstance(one, Purchase)],
            self.settings,
            self.now,
            last_seen={one.id: self.last_seen for one in self.sources if isinstance(one, Subscription)},
            previous={},
            grants=[one for one in self.sources if isinstance(one, ManualGrant)],
        )["feature"]

    def row(self, locale: str) -> tuple[str, str, str, str]:
        """Situation, unlocked or locked, reason, until."""
        decided = self.decide()
        state = _UNLOCKED if decided.unlocked else _LOCKED
        until = (
            _UNTIL[decided.until]
            if decided.until in _UNTIL
            else Title(str(decided.until), str(decided.until))
        )
        return (
            self.words.in_locale(locale),
            state.in_locale(locale),
            f"`{decided.reason}`",
            until.in_locale(locale),
        )


_UNLOCKED: Final = Title("**unlocked**", "**sbloccata**")
_LOCKED: Final = Title("locked", "bloccata")
_UNTIL: Final[dict[int | None, Title]] = {
    None: Title("–", "–"),
    END: Title("end of the period", "fine del periodo"),
    EARLIER: Title("that moment", "quel momento"),
    NOW - DAY: Title("that moment", "quel momento"),
    NOW + 2 * DAY: Title("end of the trial", "fine della prova"),
    NOW + GRACE_DAYS * DAY: Title("due date + `grace_days`", "scadenza + `grace_days`"),
    NOW - (10 - GRACE_DAYS) * DAY: Title("due date + `grace_days`", "scadenza + `grace_days`"),
}


def _plan(status: str = "active", **fields: Any) -> Subscription:
    facts: dict[str, Any] = {"id": "sub_1", "price_id": "price_1", "current_period_end": END}
    return Subscription(**(facts | fields), status=status)


def _once(**fields: Any) -> Purchase:
    facts: dict[str, Any] = {"id": "cs_1", "price_id": "price_2", "paid": True}
    return Purchase(**(facts | fields))


SITUATIONS: Final = (
    Situation(Title("nothing was bought", "nessun acquisto"), ()),
    Situation(Title("subscription `active`", "abbonamento `active`"), (_plan(),)),
    Situation(
        Title(
            "`active`, but its first payment, a bank debit, is processing",
            "`active`, ma il primo pagamento, un addebito bancario, è in corso",
        ),
        (_plan(owed="pending"),),
    ),
    Situation(
        Title(
            "`active`, but the payment of the period failed and Stripe voided its invoice",
            "`active`, ma il pagamento del periodo non è riuscito e Stripe ne ha annullato la fattura",
        ),
        (_plan(owed="unpaid"),),
    ),
    Situation(
        Title("subscription `trialing`", "abbonamento `trialing`"),
        (_plan("trialing", trial_end=NOW + 2 * DAY),),
    ),
    Situation(
        Title("`cancel_at_period_end`, before the end", "`cancel_at_period_end`, prima della fine"),
        (_plan(cancel_at_period_end=True),),
    ),
    Situation(
        Title("`cancel_at`, before that moment", "`cancel_at`, prima di quel momento"),
        (_plan(cancel_at=EARLIER),),
    ),
    Situation(
        Title("`cancel_at`, that moment has passed", "`cancel_at`, quel momento è passato"),
        (_plan(cancel_at=NOW - DAY),),
    ),
    Situation(
        Title("`past_due`, within `grace_days`", "`past_due`, entro `grace_days`"),
        (_plan("past_due", past_due_since=NOW),),
    ),
    Situation(
        Title("`past_due`, after `grace_days`", "`past_due`, oltre `grace_days`"),
        (_plan("past_due", past_due_since=NOW - 10 * DAY),),
    ),
    Situation(Title("`unpaid`", "`unpaid`"), (_plan("unpaid"),)),
    Situation(Title("`incomplete`", "`incomplete`"), (_plan("incomplete"),)),
    Situation(Title("`incomplete_expired`", "`incomplete_expired`"), (_plan("incomplete_expired"),)),
    Situation(Title("`paused`", "`paused`"), (_plan("paused"),)),
    Situation(
        Title("`paused` after the last attempt to collect", "`paused` dopo l'ultimo tentativo di incasso"),
        (_plan("paused", paused_after_dunning=True, past_due_since=NOW),),
    ),
    Situation(
        Title("`pause_collection` is set, `active`", "`pause_collection` impostato, `active`"),
        (_plan(paused_collection=True),),
    ),
    Situation(
        Title(
            "`pause_collection` is set, with the option `lock_paused`",
            "`pause_collection` impostato, con l'opzione `lock_paused`",
        ),
        (_plan(paused_collection=True),),
        settings=replace(_SETTINGS, lock_paused=True),
    ),
    Situation(Title("`canceled`", "`canceled`"), (_plan("canceled"),)),
    Situation(
        Title("any unknown status", "qualsiasi stato sconosciuto"),
        (_plan("resting"),),
    ),
    Situation(
        Title(
            "everything paid for the current period was refunded",
            "tutto ciò che era stato pagato per il periodo in corso è stato rimborsato",
        ),
        (_plan(returned="refunded"),),
    ),
    Situation(
        Title(
            "everything paid for the current period was lost in a dispute",
            "tutto ciò che era stato pagato per il periodo in corso è stato perso in una contestazione",
        ),
        (_plan(returned="disputed"),),
    ),
    Situation(
        Title(
            "`active`, but Stripe unreachable for `offline_days` after the end of the period",
            "`active`, ma nessuna risposta da Stripe per `offline_days` dopo la fine del periodo",
        ),
        (_plan(),),
        now=END + OFFLINE_DAYS * DAY,
    ),
    Situation(
        Title(
            "`active`, the period has ended, and the router does not know the time",
            "`active`, il periodo è finito e il router non conosce l'ora",
        ),
        (_plan(),),
        now=None,
    ),
    Situation(Title("one-time purchase, paid", "acquisto singolo, pagato"), (_once(),)),
    Situation(
        Title("a total of nothing (voucher)", "totale pari a zero (buono)"),
        (_once(),),
    ),
    Situation(
        Title("bank debit that has not arrived", "addebito bancario non ancora arrivato"),
        (_once(paid=False),),
    ),
    Situation(Title("refunded in part", "rimborsato in parte"), (_once(),)),
    Situation(Title("refunded in full", "rimborsato per intero"), (_once(fully_refunded=True),)),
    Situation(Title("dispute open", "contestazione aperta"), (_once(dispute="open"),)),
    Situation(Title("dispute won", "contestazione vinta"), (_once(dispute="won"),)),
    Situation(Title("dispute lost", "contestazione persa"), (_once(dispute="lost"),)),
    Situation(
        Title(
            "dispute over a part of it lost",
            "contestazione di una parte persa",
        ),
        (_once(dispute="lost_in_part"),),
    ),
    Situation(
        Title("granted by the administrator", "concessa dall'amministratore"), (ManualGrant("feature"),)
    ),
    Situation(
        Title("granted until a moment", "concessa fino a un momento"), (ManualGrant("feature", EARLIER),)
    ),
    Situation(
        Title("granted, that moment has passed", "concessa, quel momento è passato"),
        (ManualGrant("feature", NOW - DAY),),
    ),
    Situation(
        Title(
            "subscription `canceled`, and a one-time purchase that is paid",
            "abbonamento `canceled` e un acquisto singolo pagato",
        ),
        (_plan("canceled"), _once()),
    ),
    Situation(
        Title(
            "subscription `past_due` within grace, and another one `active`",
            "abbonamento `past_due` entro la tolleranza e un altro `active`",
        ),
        (_plan("past_due", past_due_since=NOW), _plan(id="sub_2")),
    ),
)
