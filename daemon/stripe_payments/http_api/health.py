"""`GET /api/payments/health`: whether the daemon can take payments, for a monitor; tells a stranger
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from stripe_payments.errors import PaymentError
from stripe_payments.http_api.http import Request, Response
from stripe_payments.startup_gate import StartupGate


class HealthEndpoint:
    def __init__(self, gate: StartupGate) -> None:
        self._gate = gate

    async def show(self, _request: Request, _fields: Mapping[str, str]) -> Response:
        """`{"status": "ok"}`; while the daemon starts, or cannot store anything, its error with 503 at
        once.
        """
        if self._gate.now is None:
            raise self._gate.refusal or PaymentError("starting")
        return Response.json({"status": "ok"})
