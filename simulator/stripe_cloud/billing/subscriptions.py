"""temporary"""

from __future__ import annotations

from ..account import Account
from ..api_errors import Json, invalid
from ..cards import TestCard
from ..paying import Attempt


def trial_wanted(data: Json) -> bool:
    return bool(data.get("trial_period_days") or data.get("trial_end"))


def from_checkout(account: Account, session: Json, customer: str, items: list[Json], params: Json) -> Json:
    raise invalid("not yet")


def pay_first(
    account: Account, sub: Json, method: Json | None, card: TestCard | None, *, authenticated: bool | None
) -> Attempt | None:
    raise invalid("not yet")


def abandon(account: Account, sub: Json) -> None:
    raise invalid("not yet")
