"""From the table of methods to an object on the bus: the startup gate, errors with a body, timeouts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from stripe_payments.arguments import Arguments, CheckedMethod
from stripe_payments.bus_api.table import BusMethod
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.errors import PaymentError
from stripe_payments.languages import language
from stripe_payments.log import Log
from stripe_payments.startup_gate import Parts, StartupGate
from ubus_py import STRING, Call, Encodable, Method, StatusError

_log = Log("bus")

#: rpcd and `ubus call` give up after 30 s; an answer in words has to come before.
PATIENCE_S: Final = 25.0
#: How long a method that answers also without the parts waits for them.
ALWAYS_PATIENCE_S: Final = 3.0

Reply = Mapping[str, Encodable]


@dataclass(frozen=True)
class Question:
    """One call as a method's code sees it: `args` (checked when read), `locale` of the reader (`en` or
    `it`).
    """

    args: Arguments
    locale: str
    gate: StartupGate
    diagnostics: Diagnostics

    @property
    def parts(self) -> Parts:
        """Everything that does the work. Raises `starting` for a method that is answered without it."""
        if self.gate.now is None:
            raise PaymentError("starting")
        return self.gate.now


Handler = Callable[[Question], Awaitable[Reply]]


class Binding:
    """Makes `ubus_py` methods out of table rows. `close` ends what still runs in the background."""

    def __init__(self, gate: StartupGate, diagnostics: Diagnostics, *, patience: float = PATIENCE_S) -> None:
        self._gate = gate
        self._diagnostics = diagnostics
        self._patience = patience
        self._handlers: Mapping[str, Handler] | None = None
        self._running: set[asyncio.Task[Reply]] = set()

    def bind(self, row: BusMethod) -> Method:
        async def answer(call: Call) -> Reply:
            try:
                return await self._answer(row, call)
            except PaymentError as error:
                raise self._refusal(error, call) from None
            except StatusError:
                raise
            except Exception as error:  # noqa: BLE001 - its trace is for the log, never for the caller
                _log.error("a method failed", exc=error, method=row.name)
                raise self._refusal(PaymentError("internal_error"), call) from None

        return CheckedMethod(row.name, answer, {**row.args, "locale": STRING})

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)

    async def _answer(self, row: BusMethod, call: Call) -> Reply:
        if row.always:
            with contextlib.suppress(PaymentError, TimeoutError):
                async with asyncio.timeout(ALWAYS_PATIENCE_S):
                    await self._gate.parts()
        else:
            await self._gate.parts()
        arguments = Arguments(call.args)
        arguments.text("locale")
        question = Question(arguments, self._locale(call), self._gate, self._diagnostics)
        if self._handlers is None:
            from stripe_payments.bus_api.methods import HANDLERS  # not before the object is on the bus

            self._handlers = HANDLERS
        work = self._handlers[row.name](question)
        if not row.asks_stripe:
            return await work
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done:
            _log.warning("a caller was told to ask again", method=row.name)
            raise PaymentError("timeout")
        return task.result()

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever waits has it, and who left does not want it

    def _locale(self, call: Call) -> str:
        asked = call.args.get("locale")
        return (language(asked) if isinstance(asked, str) else None) or self._gate.locale

    def _refusal(self, error: PaymentError, call: Call) -> StatusError:
        return StatusError(error.ubus_status, error.body(self._locale(call)))
