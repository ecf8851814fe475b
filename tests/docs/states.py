"""The situations of docs/states.md, played at the simulated Stripe and seen by the daemon's projection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stripe_payments.entitlements import Entitlement, ManualGrant
from tests.histories.life import BAD_DEBIT, CATALOG, DAY, DEBIT, GOOD, RENEWALS_FAIL, Life
from tests.histories.observer import Observer
from tests.histories.reference import Options

Json = dict[str, Any]

MONTHLY, LARGE, YEARLY, ONCE = "small_m", "large_m", "small_y", "once_1"
OF_PLAN, OF_PRODUCT, OF_EXTRA = "a", "b", "c"


@dataclass(frozen=True)
class Situation:
    """`play` makes it happen; `feature` is the one that the line is about; `moment`: what "that moment" means
    in it; `silent_days`: since Stripe last answered; `granted`: by an administrator, for `grant` seconds from
    now or for ever.
    """

    play: Callable[[Life], object]
    feature: str = OF_PLAN
    options: Options = field(default_factory=Options)
    moment: Callable[[Life], int] = lambda life: int(_sub(life)["cancel_at"])
    knows_time: bool = True
    silent_days: float = 0
    grant: int | None = None
    granted: bool = False

    def decide(self) -> tuple[Life, Entitlement]:
        """What happened, and what the daemon decides on the feature."""
        life = Life(1, self.options)
        observer = Observer(life)
        self.play(life)
        observer.observe()
        life.cloud.clock.offset += self.silent_days * DAY
        grants = []
        if self.granted:
            until = life.now + self.grant if self.grant is not None else None
            grants = [ManualGrant(self.feature, until)]
        heard = life.now - int(self.silent_days * DAY)
        state = observer.project_again(life.now if self.knows_time else None, heard, grants)
        return life, state.entitlements[self.feature]


def until(words: str, situation: Situation, life: Life) -> int | None:
    """The moment that the last column names."""
    if words == "that moment" and situation.granted:
        return life.now + (situation.grant or 0)
    found: Mapping[str, Callable[[], int | None]] = {
        "–": lambda: None,
        "end of the period": lambda: int(_sub(life)["items"]["data"][0]["current_period_end"]),
        "end of the paid period": lambda: max(
            line["period"]["end"] for line in life.rows("invoice")[-1]["lines"]["data"] if line["amount"] < 0
        ),
        "end of the trial": lambda: int(_sub(life)["trial_end"]),
        "that moment": lambda: situation.moment(life),
        "due date + `grace_days`": lambda: _due(life) + life.options.grace_days * DAY,
    }
    return found[words]()


def _sub(life: Life) -> Json:
    return life.rows("subscription")[-1]


def _due(life: Life) -> int:
    """When the oldest invoice that is owed was to be paid."""
    owed = [one for one in life.rows("invoice") if one["status"] == "open"]
    sent = owed[0]["due_date"] if owed[0]["collection_method"] == "send_invoice" else None
    return int(sent or owed[0]["status_transitions"]["finalized_at"])


# -- what people do --------------------------------------------------------------------------------


def _checkout(
    life: Life, alias: str, card: str = GOOD, *, coupon: Json | None = None, trial: bool = False
) -> None:
    mode = "subscription" if next(one for one in CATALOG if one.alias == alias).interval else "payment"
    given: Json = {"discounts": [{"coupon": coupon["id"]}]} if coupon else {}
    if trial:
        given["subscription_data"] = {"trial_period_days": 14}
    life.pay(life.checkout(alias, mode, **given), card)


def _subscribe(alias: str = MONTHLY, card: str = GOOD) -> Callable[[Life], None]:
    return lambda life: _checkout(life, alias, card)


def _buy(card: str = GOOD) -> Callable[[Life], None]:
    return lambda life: _checkout(life, ONCE, card)


def _then(*steps: Callable[[Life], object]) -> Callable[[Life], None]:
    def play(life: Life) -> None:
        for step in steps:
            life.cloud.advance(61)
            step(life)

    return play


def _days(days: float) -> Callable[[Life], object]:
    return lambda life: life.cloud.advance(days * DAY)


def _update(**params: Any) -> Callable[[Life], object]:
    return lambda life: life.post(f"/v1/subscriptions/{_sub(life)['id']}", **params)


def _card(card: str) -> Callable[[Life], object]:
    return lambda life: life.cloud.change_card(life.customer, card)


def _dunning(ends_with: str) -> Callable[[Life], object]:
    def play(life: Life) -> None:
        life.account.settings["dunning_ends_with"] = ends_with

    return play


def _refund(amount: int | None = None) -> Callable[[Life], object]:
    given = {} if amount is None else {"amount": amount}
    return lambda life: life.post("/v1/refunds", charge=life.rows("charge")[-1]["id"], **given)


def _refund_all(life: Life) -> None:
    for charge in [one for one in life.rows("charge") if one["paid"]]:
        life.post("/v1/refunds", charge=charge["id"])


def _fail_refund(life: Life) -> None:
    life.cloud.fail_refund(life.rows("refund")[-1]["id"])


def _dispute(*outcomes: str, amount: int | None = None, case_type: str = "resolution") -> Any:
    def play(life: Life) -> None:
        charge = life.rows("charge")[-1]["id"]
        for outcome in outcomes:
            life.cloud.dispute(charge, outcome, amount=amount, case_type=case_type)

    return play


def _change(alias: str) -> Callable[[Life], object]:
    def play(life: Life) -> None:
        item = {"id": _sub(life)["items"]["data"][0]["id"], "price": life.prices[alias]["id"]}
        _update(items=[item], proration_behavior="always_invoice")(life)

    return play


def _upgrade(card: str, alias: str = LARGE) -> Callable[[Life], None]:
    """A monthly plan paid by card, changed nine days later and paid by another method."""
    return _then(_subscribe(), _days(9), _card(card), _change(alias))


def _void_open(life: Life) -> None:
    invoice = next(one for one in life.rows("invoice") if one["status"] == "open")
    life.post(f"/v1/invoices/{invoice['id']}/void")


def _quantity(life: Life, quantity: int) -> None:
    _update(items=[{"id": _sub(life)["items"]["data"][0]["id"], "quantity": quantity}])(life)


def _sent(life: Life) -> None:
    """A plan that is collected by e-mailed invoices; the first is final."""
    item = {"price": life.prices[MONTHLY]["id"]}
    wanted = {"collection_method": "send_invoice", "days_until_due": 14}
    life.post("/v1/subscriptions", customer=life.customer, items=[item], **wanted)
    life.cloud.advance(DAY)


def _pay_open(life: Life, **how: Any) -> None:
    invoice = next(one for one in life.rows("invoice") if one["status"] == "open")
    life.post(f"/v1/invoices/{invoice['id']}/pay", **how)


def _pay_in_two_parts(life: Life) -> None:
    invoice = next(one for one in life.rows("invoice") if one["status"] == "open")
    for amount in (200, 299):
        life.pay_a_part(invoice, amount)


def _schedule(life: Life) -> None:
    life.post("/v1/subscription_schedules", from_subscription=_sub(life)["id"])


def _unknown_status(life: Life) -> None:
    with life.account.changing(_sub(life), "customer.subscription.updated") as sub:
        sub["status"] = "resting"


_PAST_DUE: Final = _then(_subscribe(), _card(RENEWALS_FAIL), _days(32))

SITUATIONS: Final[Mapping[str, Situation]] = {
    "nothing was bought": Situation(lambda life: None),
    "subscription `active`": Situation(_subscribe()),
    "`active`, but its first payment, a bank debit, is processing": Situation(_subscribe(card=DEBIT)),
    "the same, with the option `trust_pending_debits`": Situation(
        _subscribe(card=DEBIT), options=Options(trust_pending_debits=True)
    ),
    "`active`, the bank debit of a renewal is processing": Situation(
        _then(_subscribe(), _card(DEBIT), _days(31.1))
    ),
    "`active`, but the payment of the period failed and Stripe voided its invoice": Situation(
        _then(_subscribe(card=BAD_DEBIT), _days(4))
    ),
    "an upgrade whose bank debit is processing: what the plan had before": Situation(_upgrade(DEBIT)),
    "an upgrade whose bank debit is processing: what is new in the plan": Situation(
        _upgrade(DEBIT), feature=OF_PRODUCT
    ),
    "the same, with the option `trust_pending_debits`: what is new": Situation(
        _upgrade(DEBIT), feature=OF_PRODUCT, options=Options(trust_pending_debits=True)
    ),
    "an upgrade whose payment failed: what the plan had before": Situation(
        _then(_upgrade(BAD_DEBIT), _days(9))
    ),
    "an upgrade whose payment failed: what is new in the plan": Situation(
        _then(_upgrade(BAD_DEBIT), _days(4)), feature=OF_PRODUCT
    ),
    "an upgrade whose payment failed and whose invoice was voided: what the plan had before": Situation(
        _then(_upgrade(BAD_DEBIT), _void_open)
    ),
    "the same, the voided invoice was for a longer period, too": Situation(
        _then(_upgrade(BAD_DEBIT, YEARLY), _void_open)
    ),
    "the same, after the end of the paid period": Situation(
        _then(_upgrade(BAD_DEBIT, YEARLY), _void_open), silent_days=28
    ),
    "subscription `trialing`": Situation(lambda life: _checkout(life, MONTHLY, trial=True)),
    "`active`, a coupon of 100 %": Situation(lambda life: _checkout(life, MONTHLY, coupon=life.free)),
    "`cancel_at_period_end`, before the end": Situation(
        _then(_subscribe(), _update(cancel_at_period_end=True))
    ),
    "`cancel_at`, before that moment": Situation(_then(_subscribe(), _update(cancel_at="min_period_end"))),
    "`cancel_at`, that moment has passed": Situation(
        _then(_subscribe(), _update(cancel_at="min_period_end")), silent_days=32
    ),
    "`cancel_at` after the end of the period": Situation(
        _then(_subscribe(), lambda life: _update(cancel_at=life.now + 50 * DAY)(life))
    ),
    "`past_due`, within `grace_days`": Situation(_PAST_DUE),
    "`past_due`, after `grace_days`": Situation(_then(_PAST_DUE, _days(8))),
    "`past_due`, with a `cancel_at` before the end of grace": Situation(
        _then(_PAST_DUE, lambda life: _update(cancel_at=life.now + 2 * DAY)(life))
    ),
    "e-mailed invoice, before its due date": Situation(_sent),
    "e-mailed invoice, after its due date": Situation(_then(_sent, _days(15))),
    "`past_due`, then paid in cash (out of band)": Situation(
        _then(_PAST_DUE, lambda life: _pay_open(life, paid_out_of_band=True))
    ),
    "`unpaid`": Situation(_then(_dunning("unpaid"), _PAST_DUE, _days(20))),
    "`incomplete`": Situation(_subscribe(card="4000000000009995")),
    "`incomplete_expired`": Situation(_then(_subscribe(card="4000000000009995"), _days(1.1))),
    "`paused`": Situation(
        _then(_subscribe(), lambda life: life.post(f"/v1/subscriptions/{_sub(life)['id']}/pause"))
    ),
    "`paused` after the last attempt to collect": Situation(
        _then(_dunning("paused"), _PAST_DUE, _days(20)), options=Options(grace_days=60)
    ),
    "`pause_collection` is set, `active`": Situation(
        _then(_subscribe(), _update(pause_collection={"behavior": "void"}), _days(33))
    ),
    "`pause_collection` is set, with the option `lock_paused`": Situation(
        _then(_subscribe(), _update(pause_collection={"behavior": "void"})),
        options=Options(lock_paused=True),
    ),
    "`active`, managed by a schedule": Situation(_then(_subscribe(), _schedule)),
    "a second plan among the items of an `active` subscription": Situation(
        _then(_subscribe(), lambda life: _update(items=[{"price": life.prices["extra_m"]["id"]}])(life)),
        feature=OF_EXTRA,
    ),
    "`active`, all its items have the quantity 0": Situation(
        _then(_subscribe(), lambda life: _quantity(life, 0))
    ),
    "`canceled`": Situation(
        _then(_subscribe(), lambda life: life.delete(f"/v1/subscriptions/{_sub(life)['id']}"))
    ),
    "its customer was deleted at Stripe": Situation(
        _then(_subscribe(), lambda life: life.delete(f"/v1/customers/{life.customer}"))
    ),
    "any unknown status": Situation(_then(_subscribe(), _unknown_status)),
    "everything paid for the current period was refunded": Situation(_then(_subscribe(), _refund())),
    "a part of what was paid for the current period was refunded": Situation(
        _then(_subscribe(), _refund(100))
    ),
    "what an upgrade cost was refunded": Situation(
        _then(_subscribe(), _days(9), _change(LARGE), _refund()), feature=OF_PRODUCT
    ),
    "one of the two payments of the period's invoice was refunded": Situation(
        _then(_dunning("past_due"), _PAST_DUE, _pay_in_two_parts, _refund())
    ),
    "both of them were refunded": Situation(
        _then(_dunning("past_due"), _PAST_DUE, _pay_in_two_parts, _refund_all)
    ),
    "customer credit paid a part of the period, and the rest was refunded": Situation(
        _then(
            _subscribe(),
            lambda life: life.post(f"/v1/customers/{life.customer}", balance=-201),
            _days(32),
            _refund(),
        )
    ),
    "a downgrade's credit paid the period, and the payment that it came from was refunded": Situation(
        _then(_subscribe(YEARLY), _days(3), _change(MONTHLY), _refund())
    ),
    "everything paid for the current period was lost in a dispute": Situation(
        _then(_subscribe(), _dispute("open", "lost"))
    ),
    "`active`, but Stripe unreachable for `offline_days` after the end of the period": Situation(
        _subscribe(), silent_days=62
    ),
    "`active`, the period has ended, and the router does not know the time": Situation(
        _subscribe(), silent_days=62, knows_time=False
    ),
    "one-time purchase, paid": Situation(_buy(), feature=OF_PRODUCT),
    "a total of nothing (voucher)": Situation(
        lambda life: _checkout(life, ONCE, coupon=life.free), feature=OF_PRODUCT
    ),
    "bank debit that has not arrived": Situation(_buy(DEBIT), feature=OF_PRODUCT),
    "refunded in part": Situation(_then(_buy(), _refund(100)), feature=OF_PRODUCT),
    "refunded in full": Situation(_then(_buy(), _refund()), feature=OF_PRODUCT),
    "a refund that failed": Situation(_then(_buy(), _refund(), _fail_refund), feature=OF_PRODUCT),
    "dispute open": Situation(_then(_buy(), _dispute("open")), feature=OF_PRODUCT),
    "dispute won": Situation(_then(_buy(), _dispute("open", "won")), feature=OF_PRODUCT),
    "dispute lost": Situation(_then(_buy(), _dispute("open", "lost")), feature=OF_PRODUCT),
    "dispute over a part of it lost": Situation(
        _then(_buy(), _dispute("open", "lost", amount=1000)), feature=OF_PRODUCT
    ),
    "lost dispute under appeal": Situation(
        _then(_buy(), _dispute("open", "lost", "appeal_under_review")), feature=OF_PRODUCT
    ),
    "lost dispute, won late": Situation(
        _then(_buy(), _dispute("open", "lost", "appeal_under_review", "won")), feature=OF_PRODUCT
    ),
    "dispute prevented by a refund": Situation(_then(_buy(), _dispute("prevented")), feature=OF_PRODUCT),
    "dispute prevented otherwise": Situation(
        _then(_buy(), _dispute("prevented", case_type="block")), feature=OF_PRODUCT
    ),
    "granted by the administrator": Situation(lambda life: None, granted=True),
    "granted until a moment": Situation(lambda life: None, granted=True, grant=DAY),
    "granted, that moment has passed": Situation(lambda life: None, granted=True, grant=-DAY),
    "subscription `canceled`, and a one-time purchase that is paid": Situation(
        _then(_subscribe(LARGE), lambda life: life.delete(f"/v1/subscriptions/{_sub(life)['id']}"), _buy()),
        feature=OF_PRODUCT,
    ),
    "subscription `past_due` within grace, and another one `active`": Situation(
        _then(_PAST_DUE, _subscribe(LARGE))
    ),
}
