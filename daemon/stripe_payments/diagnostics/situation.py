"""What the checks look at: the daemon's parts, as far as they are there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stripe_payments.errors import PaymentError
from stripe_payments.refused_webhooks import RefusedWebhooks
from stripe_payments.settings import Settings

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.identity import IdentityStore
    from stripe_payments.keys import KeyStore
    from stripe_payments.ledger import Ledger
    from ubus_py import Client


@dataclass(frozen=True, slots=True)
class Situation:
    """`ledger` and `clock` are None until they are open; `refusal` says why they could not be opened.

    `api_base`: where Stripe is, None for the real one; `last_sync`: trusted epoch seconds; `unlocks_trouble`:
    why the router cannot be told what is unlocked; `wall_clock` and `statvfs` are the system's.
    """

    settings: Settings
    keys: KeyStore
    identity: IdentityStore
    state_dir: Path
    bus: Client
    api_base: str | None
    refused_webhooks: RefusedWebhooks
    ledger: Ledger | None = None
    clock: TrustedClock | None = None
    last_sync: int | None = None
    unlocks_trouble: str | None = None
    refusal: PaymentError | None = None
    wall_clock: Callable[[], float] = time.time
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs

    @property
    def now(self) -> int:
        """The trusted time, or what the system believes while there is none."""
        trusted = self.clock.now() if self.clock is not None else None
        return int(self.wall_clock()) if trusted is None else trusted
