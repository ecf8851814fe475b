"""The decorator that makes a function a ubus method, and the dispatch of calls to such functions.

    api = MethodTable("stripe-payments")

    @api.method(READ)
    async def has(call: BusCall, *, feature: str) -> Reply:
        '''Return whether a feature is unlocked.'''

That is the complete definition of a method. The function's name is the method's name and its keyword-only
parameters are the method's arguments: `str`, `int` and `bool` become STRING, INT32 and BOOLEAN, a parameter
without default is required. The signature that `ubus -v list` shows, the table in docs/reference.md and the
check of the rpcd ACL file are made from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin

from stripe_payments.arguments import Arguments
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _, language
from stripe_payments.log import Log
from stripe_payments.startup_gate import CALL_TIMEOUT_S, Parts, StartupGate
from ubus_py import BOOLEAN, INT32, STRING, ArgType, Call, Encodable, Method, Object, Status, StatusError

_log = Log("bus")

#: How long a `while_starting` method waits for the parts before it runs without them.
STARTING_TIMEOUT_S: Final = 3.0

Mode = Literal["direct", "managed", "hub"]
"""How a daemon sells: with the seller's methods on the bus, without them, through the seller's hub."""

#: The group of luci-app-stripe-payments' rpcd ACL file that grants a method.
Right = Literal["read", "buy", "admin"]
READ: Final = "read"
BUY: Final = "buy"
ADMIN: Final = "admin"

Reply = Mapping[str, Encodable]
Given = Mapping[str, object]
"""A caller's arguments, not checked yet."""
Handler = Callable[..., Awaitable[Reply]]
_H = TypeVar("_H", bound=Handler)

_TYPES: Final[Mapping[type, ArgType]] = {str: STRING, int: INT32, bool: BOOLEAN}


@dataclass(frozen=True, slots=True)
class Between:
    """The bounds of an integer argument: `Annotated[int | None, Between(1, 100)]`."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """`Annotated[str | None, Trimmed()]`: strip whitespace around the text, which pasting often adds."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a method, as its function's signature declares it."""

    name: str
    type: ArgType
    required: bool
    default: object
    constraint: Between | Trimmed | None

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Argument:
        """Raises TypeError for a parameter that cannot be an argument: that is a mistake in our code."""
        annotation, constraint = parameter.annotation, None
        if get_origin(annotation) is Annotated:
            annotation, constraint = get_args(annotation)
        types = [one for one in get_args(annotation) or (annotation,) if one is not NoneType]
        if parameter.kind is not parameter.KEYWORD_ONLY or len(types) != 1 or types[0] not in _TYPES:
            raise TypeError(f"not an argument of a bus method: {parameter}")
        required = parameter.default is parameter.empty
        kind = _TYPES[types[0]]
        if kind is INT32 and (required or not isinstance(constraint, Between)):
            raise TypeError(f"an integer argument is optional and has bounds: {parameter}")
        return cls(parameter.name, kind, required, None if required else parameter.default, constraint)

    def read(self, arguments: Arguments) -> object:
        """Return the checked value for the function. Raises PaymentError `invalid_argument`."""
        if isinstance(self.constraint, Between):
            number = arguments.integer(
                self.name, minimum=self.constraint.minimum, maximum=self.constraint.maximum
            )
            return self.default if number is None else number
        if self.type is BOOLEAN:
            return arguments.flag(self.name, default=bool(self.default))
        if self.required:
            return arguments.text(self.name, required=True)
        return arguments.text(self.name, trimmed=isinstance(self.constraint, Trimmed))


@dataclass(frozen=True, slots=True)
class BusMethod:
    """One row of the table.

    `calls_stripe`: it may wait for the network. It continues when its caller disconnects or the call times
    out, because half a purchase or half a refund is worse than a reply that is not read.
    `while_starting`: it also answers while the daemon starts or cannot start, to explain why.
    `hub_mode`: it exists in hub mode alone.
    """

    name: str
    handler: Handler
    arguments: tuple[Argument, ...]
    right: Right
    calls_stripe: bool
    while_starting: bool
    hub_mode: bool = False

    @property
    def signature(self) -> dict[str, ArgType]:
        """The arguments that `ubus -v list` shows: the method's own and `locale`, which all have."""
        return {**{argument.name: argument.type for argument in self.arguments}, "locale": STRING}

    def arguments_in(self, words: Sequence[str]) -> dict[str, str]:
        """Return the arguments in the words of a command line: `name=value`, or the value alone of a required
        one, in their order. Raises PaymentError `invalid_argument` for any other word.
        """
        given: dict[str, str] = {}
        required = [argument.name for argument in self.arguments if argument.required]
        for word in words:
            name, separator, value = word.partition("=")
            if not separator or name not in self.signature:
                missing = [name for name in required if name not in given]
                if not missing:
                    reason = _("{method} has no such argument", method=self.name)
                    raise PaymentError("invalid_argument", argument=name, reason=reason)
                name, value = missing[0], word
            given[name] = value
        return given

    @property
    def help(self) -> str:
        return inspect.getdoc(self.handler) or ""


class MethodTable:
    """The methods of the ubus object `name`, in the order of their definition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._methods: dict[str, BusMethod] = {}

    def method(
        self,
        right: Right,
        *,
        calls_stripe: bool = False,
        while_starting: bool = False,
        hub_mode: bool = False,
    ) -> Callable[[_H], _H]:
        """Add the decorated function, which stays as it is: see the module's example and `BusMethod`."""

        def add(handler: _H) -> _H:
            _call, *parameters = inspect.signature(handler, eval_str=True).parameters.values()
            arguments = tuple(Argument.of(parameter) for parameter in parameters)
            name = handler.__name__
            self._methods[name] = BusMethod(
                name, handler, arguments, right, calls_stripe, while_starting, hub_mode
            )
            return handler

        return add

    def __iter__(self) -> Iterator[BusMethod]:
        return iter(self._methods.values())

    def __getitem__(self, name: str) -> BusMethod:
        return self._methods[name]

    def get(self, name: str) -> BusMethod | None:
        return self._methods.get(name)


@dataclass(frozen=True, slots=True)
class BusCall:
    """One call as a method's function sees it.

    `locale`: the language of the reply, `en` or `it`; `requested_locale`: the argument as the caller sent it.
    """

    locale: str
    requested_locale: str | None
    gate: StartupGate
    diagnostics: Diagnostics

    @property
    def parts(self) -> Parts:
        """The daemon's parts in direct mode. Raises PaymentError `starting` before there are any."""
        if not isinstance(self.gate.now, Parts):
            raise PaymentError("starting")
        return self.gate.now


class Dispatcher:
    """Runs the calls of one object. `close` cancels those still running in the background."""

    def __init__(
        self,
        methods: MethodTable,
        gate: StartupGate,
        diagnostics: Diagnostics,
        *,
        timeout: float = CALL_TIMEOUT_S,
    ) -> None:
        self._methods = methods
        self._gate = gate
        self._diagnostics = diagnostics
        self._timeout = timeout
        self._running: set[asyncio.Task[Reply]] = set()

    def object(self, mode: Mode = "direct") -> Object:
        """Return a new object to publish. The seller's methods (the right ADMIN) are in direct mode alone,
        and not if that is managed; those of `hub_mode` in hub mode alone.
        """
        published = [
            method
            for method in self._methods
            if (mode == "direct" or method.right != ADMIN) and (mode == "hub" or not method.hub_mode)
        ]
        return Object(self._methods.name, [self._published(method) for method in published], raw_text=True)

    async def command(self, name: str, words: Sequence[str], locale: str | None) -> Reply:
        """Run a method for root's shell; `words` as `BusMethod.arguments_in` takes them.

        Raises StatusError with the same status and body as for a caller on the bus.
        """
        method = self._methods.get(name)
        if method is None:
            raise StatusError(Status.METHOD_NOT_FOUND)
        given = {} if locale is None else {"locale": locale}
        try:
            given |= method.arguments_in(words)
        except PaymentError as error:
            raise self._status_error(error, given) from None
        return await self._answer(method, given, on_bus=False)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)

    def _published(self, method: BusMethod) -> Method:
        async def handle(call: Call) -> Reply:
            return await self._answer(method, call.args, on_bus=True)

        # a wrong type is answered with the argument's name, by `Arguments`
        return Method(method.name, handle, method.signature, check_types=False)

    async def _answer(self, method: BusMethod, given: Given, *, on_bus: bool) -> Reply:
        try:
            return await self._reply(method, given, on_bus=on_bus)
        except PaymentError as error:
            raise self._status_error(error, given) from None
        except StatusError:
            raise
        except Exception as error:  # noqa: BLE001 - the trace is for the log, never for the caller
            _log.error("a method failed", exc=error, method=method.name)
            raise self._status_error(PaymentError("internal_error"), given) from None

    async def _reply(self, method: BusMethod, given: Given, *, on_bus: bool) -> Reply:
        if method.while_starting:
            with contextlib.suppress(PaymentError, TimeoutError):
                async with asyncio.timeout(STARTING_TIMEOUT_S):
                    await self._gate.served()
        else:
            await self._gate.served()
        handler = self._handler(method, on_bus=on_bus)
        arguments = Arguments(given)
        bus_call = BusCall(self._locale(given), arguments.text("locale"), self._gate, self._diagnostics)
        values = {argument.name: argument.read(arguments) for argument in method.arguments}
        reply = handler(bus_call, **values)
        if not method.calls_stripe:
            return await reply
        task = asyncio.ensure_future(reply)
        self._running.add(task)
        task.add_done_callback(self._finished)
        done, _ = await asyncio.wait({task}, timeout=self._timeout)
        if not done:
            _log.warning("a call timed out; it continues in the background", method=method.name)
            raise self._gate.overdue()
        if task.cancelled():  # by a stop: the next daemon continues what was begun
            raise PaymentError("starting")
        return task.result()

    def _handler(self, method: BusMethod, *, on_bus: bool) -> Handler:
        """The function that runs a method now. Raises StatusError where the mode has none: an object that was
        published before the settings changed still has it.
        """
        served = self._gate.now
        if served is not None and not isinstance(served, Parts):
            handler = method.handler if method.while_starting else served.methods.get(method.name)
            if handler is None:
                raise StatusError(Status.METHOD_NOT_FOUND)
            return handler
        if method.hub_mode or (on_bus and method.right == ADMIN and self._gate.managed):
            raise StatusError(Status.METHOD_NOT_FOUND)
        return method.handler

    def _finished(self, task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved here for the case that the caller has disconnected

    def _locale(self, given: Given) -> str:
        requested = given.get("locale")
        return (language(requested) if isinstance(requested, str) else None) or self._gate.locale

    def _status_error(self, error: PaymentError, given: Given) -> StatusError:
        return StatusError(error.ubus_status, error.body(self._locale(given)))
