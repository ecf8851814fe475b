"""temporary"""

from __future__ import annotations

from collections.abc import Callable

from ..account import Account
from ..api_errors import Json
from ..paying import Attempt

TASKS: dict[str, Callable[[Account, str], None]] = {}


def payment_settled(account: Account, invoice: Json, attempt: Attempt) -> None:
    return None
