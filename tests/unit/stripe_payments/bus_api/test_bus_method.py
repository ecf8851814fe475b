"""One decorated function is a complete method: signature, checked arguments, reference row, ACL group."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest

from stripe_payments.bus_api import api
from stripe_payments.bus_method import ADMIN, READ, Between, BusCall, Dispatcher, MethodTable, Reply, Trimmed
from stripe_payments.diagnostics import Diagnostics
from stripe_payments.errors import PaymentError
from stripe_payments.startup_gate import StartupGate
from tests.unit.stripe_payments.harness import Harness
from tools.reference import grants_wanted, method_row
from ubus_py import BOOLEAN, INT32, STRING, Client, StatusError

table = MethodTable("test")
finish = asyncio.Event()
finished = asyncio.Event()


@table.method(ADMIN)
async def everything(
    call: BusCall,
    *,
    name: str,
    note: Annotated[str | None, Trimmed()] = None,
    count: Annotated[int | None, Between(1, 10)] = None,
    verbose: bool = True,
) -> Reply:
    """Return the arguments as the function received them."""
    return {"name": name, "note": note, "count": count, "verbose": verbose, "locale": call.locale}


@table.method(READ, calls_stripe=True)
async def slow(_call: BusCall) -> Reply:
    """Wait for the test."""
    await finish.wait()
    finished.set()
    return {}


@table.method(READ, while_starting=True)
async def early(call: BusCall) -> Reply:
    """Return whether the daemon has its parts."""
    return {"ready": call.gate.now is not None, "mode": call.parts.keys.current().mode}


@pytest.fixture
async def call(harness: Harness) -> AsyncIterator[Callable[..., Any]]:
    """Publish `table` and call it over the bus."""
    assert harness.service is not None
    gate, diagnostics = harness.service.gate, Diagnostics(harness.service.situation)
    dispatcher = Dispatcher(table, gate, diagnostics, timeout=0.2)
    publisher = Client(str(harness.bus_path))
    await publisher.publish(dispatcher.object())
    await publisher.start()
    await harness.bus.wait_for("test", timeout=5)

    async def call_method(method: str, **arguments: Any) -> Any:
        return await harness.bus.call("test", method, arguments)

    yield call_method
    await dispatcher.close()
    await publisher.close()


Calling = Callable[..., Any]


async def test_the_signature_on_the_bus_is_the_functions(harness: Harness, call: Calling) -> None:
    (info,) = await harness.bus.lookup("test")
    assert info.methods["everything"] == {
        "name": STRING,
        "note": STRING,
        "count": INT32,
        "verbose": BOOLEAN,
        "locale": STRING,
    }


async def test_the_function_receives_checked_arguments(call: Calling) -> None:
    assert await call("everything", name="a", note=" b\n", count="3", verbose=0, locale="it-IT") == {
        "name": "a",
        "note": "b",
        "count": 3,
        "verbose": False,
        "locale": "it",
    }
    assert await call("everything", name="a") == {
        "name": "a",
        "note": None,
        "count": None,
        "verbose": True,
        "locale": "en",
    }


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [({}, "name"), ({"name": "a", "count": 11}, "count"), ({"name": "a", "verbose": "maybe"}, "verbose")],
)
async def test_a_wrong_argument_is_refused(call: Calling, arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(StatusError) as refused:
        await call("everything", **arguments)
    error: Any = refused.value.data
    assert error["error"]["code"] == "invalid_argument"
    assert f"“{wrong}”" in error["error"]["message"]


def test_the_reference_row_is_made_from_the_function() -> None:
    assert method_row(table["everything"], "everything") == (
        "| [`everything`](#everything) | `name`* string, `note` string, `count` integer, `verbose` boolean "
        "| admin |"
    )


def test_the_acl_group_is_made_from_the_right() -> None:
    wanted = grants_wanted(table)
    assert wanted["luci-app-stripe-payments", "read"] == ["early", "slow"]
    assert wanted["luci-app-stripe-payments-buy", "write"] == []
    assert wanted["luci-app-stripe-payments-admin", "write"] == ["everything"]


async def test_a_call_to_stripe_continues_after_its_timeout(call: Calling) -> None:
    finish.clear()
    with pytest.raises(StatusError) as refused:
        await call("slow")
    error: Any = refused.value.data
    assert error["error"]["code"] == "timeout"
    finish.set()
    await asyncio.wait_for(finished.wait(), 5)


async def test_a_method_that_runs_while_starting_finds_no_parts(harness: Harness, call: Calling) -> None:
    assert await call("early") == {"ready": True, "mode": "unconfigured"}
    assert harness.service is not None
    starting = BusCall("en", None, StartupGate(), Diagnostics(harness.service.situation))
    with pytest.raises(PaymentError) as refused:
        await early(starting)
    assert refused.value.code == "starting"


@pytest.mark.parametrize("annotation", [float, int, dict, str | int])
def test_a_function_that_cannot_be_a_method_fails_at_its_definition(annotation: Any) -> None:
    async def wrong(_call: BusCall, *, argument: Any = None) -> Reply:
        return {}

    wrong.__annotations__["argument"] = annotation
    with pytest.raises(TypeError, match="argument"):
        MethodTable("wrong").method(READ)(wrong)


def test_every_method_has_a_help_sentence() -> None:
    for method in api:
        summary = method.help.partition("\n")[0]
        assert re.fullmatch(r"[A-Z].{20,}[.…]", summary), method.name
