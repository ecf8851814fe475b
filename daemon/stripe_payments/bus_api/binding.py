"""From the table of methods to an object on the bus: readiness, errors with a body, patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from stripe_payments.arguments import Arguments, CheckedMethod
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.page_texts import language
from stripe_payments.journal import Journal
from stripe_payments.readiness import Parts, Readiness
from ubus_py import STRING, ArgType, Call, Encodable, Method, StatusError

_journal = Journal("bus")

#: rpcd and `ubus call` give up after 30 s; an answer in words has to come before.
PATIENCE_S: Final = 25.0

Reply = Mapping[str, Encodable]


@dataclass(frozen=True, slots=True)
class Question:
    """One call as a method's code sees it: `args` (checked when read), `locale` of the reader (`en` or
    `it`).
    """

    args: Arguments
    locale: str
    parts: Parts


Handler = Callable[[Question], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class BusMethod:
    """A row of the table. `asks_stripe`: it may wait for the network; it then goes on by itself should
    its caller leave or lose patience, because half a purchase or half a refund is worse than an unheard
    answer.
    """

    name: str
    handler: Handler
    args: Mapping[str, ArgType] = field(default_factory=dict)
    asks_stripe: bool = False


class Binding:
    """Makes `ubus_py` methods out of table rows. `close` ends what still runs in the background."""

    def __init__(self, readiness: Readiness, *, patience: float = PATIENCE_S) -> None:
        self._readiness = readiness
        self._patience = patience
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
                _journal.error("a method failed", exc=error, method=row.name)
                raise self._refusal(PaymentError("internal_error"), call) from None

        return CheckedMethod(row.name, answer, {**row.args, "locale": STRING})

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)

    async def _answer(self, row: BusMethod, call: Call) -> Reply:
        parts = self._readiness.now or await self._readiness.parts()
        arguments = Arguments(call.args)
        arguments.text("locale")
        question = Question(arguments, self._locale(call), parts)
        if not row.asks_stripe:
            return await row.handler(question)
        task = asyncio.ensure_future(row.handler(question))
        self._running.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done:
            _journal.warning("a caller was told to ask again", method=row.name)
            raise PaymentError("timeout")
        return task.result()

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever waits has it, and who left does not want it

    def _locale(self, call: Call) -> str:
        asked = call.args.get("locale")
        return (language(asked) if isinstance(asked, str) else None) or self._readiness.locale

    def _refusal(self, error: PaymentError, call: Call) -> StatusError:
        return StatusError(error.ubus_status, error.body(self._locale(call)))
