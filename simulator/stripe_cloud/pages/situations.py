"""The buttons of the simulator's console: what can happen at Stripe, and the requests to `/_sim/` for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .. import disputes
from ..account import Account
from ..api_errors import Json
from ..billing.subscriptions import ENDED
from ..clock import DAY, HOUR

GOOD_CARD = "4242424242424242"
RENEWALS_FAIL = "4000000000000341"


@dataclass(frozen=True)
class Button:
    """`steps` are paths below `/_sim/` with their bodies, sent one after the other; `on`: it is so now."""

    english: str
    italian: str
    steps: tuple[tuple[str, Json], ...]
    on: bool = field(default=False, kw_only=True)

    @property
    def data(self) -> str:
        """`steps` as JSON, for the page's script."""
        return json.dumps(self.steps)


def _button(english: str, italian: str, path: str, *, on: bool = False, **body: object) -> Button:
    return Button(english, italian, ((path, body),), on=on)


def _advance(english: str, italian: str, seconds: int) -> Button:
    return _button(english, italian, "clock/advance", seconds=seconds)


CLOCK = [
    _advance("+1 hour", "+1 ora", HOUR),
    _advance("+1 day", "+1 giorno", DAY),
    _advance("+5 days", "+5 giorni", 5 * DAY),
    _advance("+31 days", "+31 giorni", 31 * DAY),
    _advance("+1 year", "+1 anno", 366 * DAY),
]


def of_webhooks(mode: str) -> list[Button]:
    """How events are delivered from now on; `mode`: one of `faults.WEBHOOK_MODES`."""
    named = {
        "on": ("delivered", "consegnati"),
        "drop": ("lost", "persi"),
        "duplicate": ("duplicated", "doppi"),
        "reorder": ("reordered", "in disordine"),
    }
    return [
        _button(english, italian, "faults", on=mode == name, webhooks=name)
        for name, (english, italian) in named.items()
    ]


def of_api(rules: list[Json]) -> list[Button]:
    """How API requests are answered from now on; `rules`: those of `Faults.describe`."""
    faults: list[tuple[str, str, Json]] = [
        ("2 s late", "2 s di ritardo", {"latency_ms": 2000}),
        ("too many requests (429)", "troppe richieste (429)", {"status": 429, "retry_after": 5}),
        ("server error (500)", "errore del server (500)", {"status": 500}),
        ("no answer", "nessuna risposta", {"drop_connection": True}),
    ]
    shown = rules[0] if rules else {}
    broken = [
        _button(english, italian, "faults", on=bool(shown) and body.items() <= shown.items(), **body)
        for english, italian, body in faults
    ]
    return [_button("works", "funziona", "faults", on=not rules, rules=[]), *broken]


def of_keys(revoked: bool) -> list[Button]:
    return [
        _button("valid", "valide", "keys", on=not revoked, key="*", expired=False),
        _button("revoked", "revocate", "keys", on=revoked, key="*", expired=True),
    ]


def of_settings(settings: Json) -> list[tuple[str, str, list[Button]]]:
    """The account's settings: (English, Italian, the choices)."""

    def choices(name: str, *labels: tuple[str, str, object]) -> list[Button]:
        return [
            _button(english, italian, "settings", on=settings[name] == value, **{name: value})
            for english, italian, value in labels
        ]

    return [
        (
            "Unpaid renewals end as",
            "I rinnovi non pagati finiscono come",
            choices(
                "dunning_ends_with",
                *((name, name, name) for name in ("canceled", "unpaid", "past_due", "paused")),
            ),
        ),
        ("Tax", "IVA", choices("tax_percent", ("none", "senza", 0), ("22 %", "22 %", 22))),
        (
            "Search API",
            "Search API",
            choices("search", ("offered", "offerta", True), ("missing", "manca", False)),
        ),
        (
            "Adaptive Pricing",
            "Adaptive Pricing",
            choices("adaptive_pricing", ("off", "no", False), ("on", "sì", True)),
        ),
    ]


def of_session(session: Json) -> list[Button]:
    if session["status"] != "open":
        return []
    return [_button("let it expire", "fai scadere", f"checkout/{session['id']}/expire")]


def of_charge(account: Account, charge: Json) -> list[Button]:
    """Refunds and disputes of a payment; of a bank debit, what the bank decides."""
    named: Json = {"charge": charge["id"]}
    if charge["status"] == "pending":
        path = f"debits/{charge['id']}/settle"
        return [
            _button("debit is paid", "addebito riuscito", path, paid=True),
            _button("debit fails", "addebito respinto", path, paid=False),
        ]
    if not charge["paid"]:
        return []
    buttons = []
    dispute = disputes.find_dispute(account, charge)
    rest = charge["amount"] - charge["amount_refunded"]
    if rest and (dispute is None or dispute["is_charge_refundable"]):
        buttons.append(_button("refund", "rimborsa", "refunds", **named))
        if rest > 1:
            buttons.append(_button("refund half", "rimborsa metà", "refunds", **named, amount=rest // 2))
    if dispute is None and not charge["disputed"] and rest:
        buttons.append(_button("dispute", "contesta", "dispute", **named))
        buttons.append(_button("inquiry", "richiesta", "dispute", **named, outcome="inquiry"))
    elif dispute is not None and dispute["status"].startswith("warning_n"):
        buttons.append(
            _button("inquiry ends", "fine richiesta", "dispute", **named, outcome="warning_closed")
        )
    elif dispute is not None and dispute["status"] in disputes.OPEN:
        buttons.append(_button("dispute is won", "contestazione vinta", "dispute", **named, outcome="won"))
        buttons.append(_button("dispute is lost", "contestazione persa", "dispute", **named, outcome="lost"))
    return buttons


def of_refund(refund: Json) -> list[Button]:
    if refund["status"] == "failed":
        return []
    return [_button("refund fails", "rimborso non riuscito", f"refunds/{refund['id']}/fail")]


def of_subscription(sub: Json, now: int) -> list[Button]:
    """What happens to a plan: its renewal, with a good card or one that is declined, and a pause."""
    if sub["status"] in ENDED or sub["status"] == "incomplete":
        return []
    path = f"subscriptions/{sub['id']}"
    if sub["status"] == "paused":
        return [_button("resume", "riprendi", f"{path}/resume")]
    card = f"customers/{sub['customer']}/card"
    wait = max(0, sub["items"]["data"][0]["current_period_end"] - now) + 2 * HOUR
    renew: tuple[str, Json] = ("clock/advance", {"seconds": wait})
    return [
        Button("renewal is paid", "rinnovo pagato", ((card, {"card": GOOD_CARD}), renew)),
        Button("renewal fails", "rinnovo respinto", ((card, {"card": RENEWALS_FAIL}), renew)),
        _button("pause", "sospendi", f"{path}/pause"),
    ]


def of_delivery(delivery: Json) -> list[Button]:
    if delivery["state"] not in {"dropped", "failed"}:
        return []
    return [_button("deliver", "consegna", f"events/{delivery['event']}/resend")]
