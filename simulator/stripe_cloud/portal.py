"""temporary"""

from __future__ import annotations

from .account import Account
from .api_errors import Json, invalid
from .cards import TestCard


def change_payment_method(account: Account, customer: Json, card: TestCard) -> Json:
    raise invalid("not yet")
