"""Properties that hold for everything that Hypothesis can think of; what it finds it makes as small as it
can.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from campaigns.attack.cases import Cases
from campaigns.attack.complaints import listening
from campaigns.attack.json_mutations import DELETED, JUNK, paths, placed
from campaigns.attack.log_lines import ForgedLogError, entry
from campaigns.attack.return_addresses import PIECES, ReturnAddresses
from campaigns.attack.uci_content import unsound
from simulator.stripe_cloud import StripeCloud
from stripe_payments import log as journal
from stripe_payments.settings import settings_from_uci
from stripe_payments.stripe_api.validation import SHAPES, Expected, MalformedResponseError, read_response
from stripe_payments.sync.fetch import units_of
from tests.unit.stripe_payments.engine import CATALOG, MONTHLY, ONE_TIME, Engine, stocked_cloud
from ubus_py import UbusError
from ubus_py.blobmsg import encode_table

__all__ = ["properties"]

T = TypeVar("T")

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(JUNK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_QUIET = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


def _search(
    cases: Cases,
    strategy: st.SearchStrategy[T],
    check: Callable[[T], str | None],
    name: str,
    times: int = 1,
) -> None:
    """One batch of examples: `times` as many as the short form makes."""
    held = 0

    @seed(cases.chance.randrange(2**32))
    @settings(
        max_examples=cases.count * times,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=_QUIET,
    )
    @given(strategy)
    def holds(example: T) -> None:
        nonlocal held
        problem = check(example)
        assert problem is None, f"{problem}: {example!r:.500}"
        held += 1

    try:
        holds()
    except AssertionError as found:
        cases.note(str(found), name)
    for _ in range(held):
        cases.tally.count(None)


async def properties(cases: Cases) -> None:
    await asyncio.to_thread(_all, cases)


def _all(cases: Cases) -> None:
    """In a thread: Hypothesis knows no event loop."""
    with listening(), asyncio.Runner() as runner:
        while True:
            _search(cases, _ADDRESSES, _address, "a return address")
            _search(cases, _ENTRIES, _logged, "a log entry")
            _search(cases, _SECTIONS, _configured, "a configuration", 5)
            _search(cases, st.text() | _JSON.map(json.dumps), _parsed, "an answer's text")
            _stored(cases, runner)
            if cases.over:
                return


# -- addresses -------------------------------------------------------------------------------------

_ADDRESSES = st.text(max_size=60) | st.tuples(
    *(st.sampled_from(part) | st.text(max_size=4) for part in PIECES)
).map("".join)


def _address(text: str) -> str | None:
    return ReturnAddresses.check(text.encode("utf-8", "surrogatepass"))


# -- the log ---------------------------------------------------------------------------------------

_ENTRIES = st.lists(st.text() | st.text('"\\ =\n\r\ud800\u2028ab') | _JSON, max_size=4)


def _logged(values: list[Any]) -> str | None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(journal._Logfmt())
    record = logging.makeLogRecord({"name": "stripe_payments.x", "levelname": "INFO", "msg": "said"})
    record.journal_fields = {f"field_{'abcd'[number]}": value for number, value in enumerate(values)}
    handler.handle(record)
    lines = stream.getvalue().split("\n")
    try:
        fields = entry(lines[0].encode())
    except (ForgedLogError, UnicodeEncodeError) as error:
        return str(error)
    return None if len(lines) == 2 and len(fields) == 3 + len(values) else f"it became {lines}"


# -- the configuration -----------------------------------------------------------------------------

_WORDS = st.sampled_from(
    ["plan", "product", "price", "feature", "payments", "premium", "month", "none", "1", "eur"]
)
_VALUES = _WORDS | _JSON | st.lists(st.text(max_size=10), max_size=3)
_NUMBERS = st.integers(-1, 10**10).map(str) | _VALUES
_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        (".type", ".anonymous", "of", "title", "feature", "price_id", "interval", "locale"), _VALUES
    ),
    **dict.fromkeys(
        ("public_url", "listen", "allowed_origin", "stripe_product", "currency", "enabled"), _VALUES
    ),
    **dict.fromkeys(("amount", "poll_interval", "grace_days", "offline_days", "trial_days"), _NUMBERS),
}
_CHOSEN = [st.tuples(st.just(name), value) for name, value in _OPTIONS.items()]
_SECTIONS = st.dictionaries(
    st.sampled_from(sorted(CATALOG)) | st.text(max_size=10),
    st.lists(st.one_of(_CHOSEN), max_size=4).map(dict),
    max_size=6,
)


def _configured(sections: dict[str, dict[str, Any]]) -> str | None:
    merged = {
        **CATALOG,
        **{name: {**CATALOG.get(name, {}), **options} for name, options in sections.items()},
    }
    return unsound(settings_from_uci(merged))


# -- Stripe's answers ------------------------------------------------------------------------------


def _parsed(text: str) -> str | None:
    """Refused by name, or something that the ledger and the bus can hold."""
    try:
        answer = read_response(text, Expected())
    except MalformedResponseError:
        return None
    json.dumps(answer, ensure_ascii=False).encode("utf-8")
    return None


def _stored(cases: Cases, runner: asyncio.Runner) -> None:
    """Whatever passes for an object of Stripe's can be stored and shown."""
    cloud: StripeCloud = runner.run(_opened(stack := contextlib.AsyncExitStack()))
    folder = Path(tempfile.mkdtemp(dir=cases.folder))
    engine = runner.run(_sold(cloud, folder))
    kinds = [kind for kind in SHAPES if next(cloud.account.newest_first(kind), None) is not None]
    roots = runner.run(_genuine(engine, cloud))
    places = [(number, path) for number, root in enumerate(roots) for path in paths(root) if path]
    strategy = st.lists(st.tuples(st.sampled_from(places), _JSON | st.just(DELETED)), min_size=1, max_size=3)

    def check(changes: list[tuple[tuple[int, Any], Any]]) -> str | None:
        number = changes[0][0][0]
        root = roots[number]
        for (other, path), value in changes:
            root = placed(root, path, value) if other == number else root
        return runner.run(_apply(engine, root))

    try:
        assert kinds
        _search(cases, strategy, check, "an object")
    finally:
        runner.run(engine.close())
        runner.run(stack.aclose())


async def _opened(stack: contextlib.AsyncExitStack) -> StripeCloud:
    return await stack.enter_async_context(stocked_cloud())


async def _sold(cloud: StripeCloud, folder: Path) -> Engine:
    engine = await Engine.open(cloud, folder)
    await engine.subscribe(MONTHLY)
    await engine.refunds.refund(await engine.buy(ONE_TIME), 1)
    return engine


async def _genuine(engine: Engine, cloud: StripeCloud) -> list[dict[str, Any]]:
    """One of each kind that polling fetches, as fetched."""
    ids = [
        str(next(cloud.account.newest_first(kind))["id"])
        for kind in ("checkout.session", "subscription", "invoice", "charge")
    ]
    found = [await engine.stripe.retrieve(one) for one in ids]
    return [one for one in found if one is not None]


async def _apply(engine: Engine, root: Any) -> str | None:
    try:
        answer = read_response(json.dumps(root), Expected())
    except MalformedResponseError:
        return None
    kind = answer.get("object")
    if not isinstance(answer.get("id"), str) or not isinstance(kind, str) or kind not in SHAPES:
        return None
    try:
        await engine.reconciler.apply(units_of(answer, time.monotonic()), "attack")
        reported: Any = [
            await engine.history.page(100, None, "it"),
            {"list": await engine.subscriptions.list("it")},
        ]
        for table in reported:
            encode_table(table)
    except (UbusError, ValueError, TypeError, AttributeError, LookupError) as error:
        return f"{type(error).__name__}: {error}"
    return None
