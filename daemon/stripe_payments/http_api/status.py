"""`GET /api/payments/status/{payment_id}` for the unguessable ids of checkout sessions that this router
created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.http_api.rate_limit import Budget
from stripe_payments.startup_gate import Parts, StartupGate

#: The documented members and no other: receipts, names and failure reasons are for those who are logged in.
_PUBLIC: Final = ("status", "amount", "currency", "payment_date")
_PATIENCE_S: Final = 10.0
"""Stripe may take longer; the look at it then goes on for whoever asks next."""


class StatusEndpoint:
    def __init__(self, gate: StartupGate, misses: Budget) -> None:
        self._gate = gate
        self._misses = misses

    async def show(self, request: Request, fields: Mapping[str, str]) -> Response:
        """`{"status", "amount", "currency", "payment_date"}`. Raises `payment_not_found` for everything
        else, and `rate_limited` for an address that asked after too many ids that do not exist. One of ours
        is always answered, for many may share an address.
        """
        parts = await self._gate.parts()
        session_id = fields["payment_id"]
        if not await is_our_session(parts, session_id):
            if wait := self._misses.spend(request.remote):
                raise PaymentError("rate_limited", retry_after=wait)
            raise PaymentError("payment_not_found")
        try:
            payment = await asyncio.wait_for(parts.payment_status.show(session_id), _PATIENCE_S)
        except TimeoutError:
            raise PaymentError("timeout") from None
        return Response.json({name: payment.get(name) for name in _PUBLIC})


async def is_our_session(parts: Parts, session_id: str) -> bool:
    """Whether this router created that checkout session."""
    if not session_id.startswith("cs_"):
        return False
    return await parts.ledger.read(lambda tx: tx.checkouts.by_session(session_id)) is not None
