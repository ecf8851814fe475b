"""Measurements for Prometheus: counters of this process, and what the database knows at each scrape.

`/metrics` is on the console's listener, and on `--metrics-port` of serve and work: never where routers call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import psycopg
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from payments_hub.database import Database

__all__ = [
    "BUDGET_EXHAUSTED",
    "MISSED_EVENTS",
    "POLL_AFTER",
    "SIGNING_KEY_CREATED",
    "WAITING",
    "WEBHOOK_EVENTS",
    "Measured",
    "count_stripe_request",
    "create_metrics",
    "metrics_route",
]

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""A request that waits for a change (Prefer: wait) takes up to 25 s."""

REQUESTS: Final = Counter(
    "hub_requests", "HTTP requests by route and status.", ("route", "method", "status"), registry=REGISTRY
)
LATENCY: Final = Histogram(
    "hub_request_seconds",
    "Seconds until a response; a poll that waits for a change has a route of its own, with ?wait.",
    ("route",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
WEBHOOK_EVENTS: Final = Counter(
    "hub_webhook_events", "Stripe's events: accepted, duplicate, ignored.", ("result",), registry=REGISTRY
)
MISSED_EVENTS: Final = Counter(
    "hub_missed_events", "Stripe's events that no delivery brought, found in its list.", registry=REGISTRY
)
STRIPE_REQUESTS: Final = Counter(
    "hub_stripe_requests", "Requests to Stripe: ok, or the error's code.", ("outcome",), registry=REGISTRY
)
STRIPE_LATENCY: Final = Histogram(
    "hub_stripe_request_seconds", "Seconds of a request to Stripe.", buckets=_SECONDS, registry=REGISTRY
)
BUDGET_EXHAUSTED: Final = Counter(
    "hub_stripe_budget_exhausted",
    "Requests to Stripe that were given up because none was left in time: buyer, sync, background.",
    ("priority",),
    registry=REGISTRY,
)
SIGNING_KEY_CREATED: Final = Gauge(
    "hub_signing_key_created_seconds",
    "When the key that signs statements was made, in epoch seconds.",
    registry=REGISTRY,
)

POLL_AFTER: Final = Gauge(
    "hub_poll_after_seconds",
    "Between two polls of a router, as this process requests it.",
    registry=REGISTRY,
)

WAITING: Final = "waiting"
"""In the scope of a request that waits for a change on purpose: true."""

_ACTIVE_HOURS: Final = 24


def count_stripe_request(outcome: str, seconds: float) -> None:
    """Called by `StripeAPI` for every request, in its threads."""
    STRIPE_REQUESTS.labels(outcome).inc()
    STRIPE_LATENCY.observe(seconds)


class Measured:
    """Counts the requests of an application, by the pattern of the route and never by the address: the
    number of series has a bound.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if route != "other" else "other"
            requests, latency = _series(route, method, status, bool(scope.get(WAITING)))
            requests.inc()
            latency.observe(time.perf_counter() - began)


@cache
def _series(route: str, method: str, status: int, waits: bool) -> tuple[Counter, Histogram]:
    """Looked up once: the number of series has a bound."""
    return REQUESTS.labels(route, method, str(status)), LATENCY.labels(f"{route}?wait" if waits else route)


def metrics_route(database: Database) -> Route:
    """`GET /metrics`."""

    async def metrics(_request: Request) -> Response:
        at_scrape = CollectorRegistry()
        at_scrape.register(_Snapshot(await _gauges(database)))
        body = generate_latest(REGISTRY) + generate_latest(at_scrape)
        return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    return Route("/metrics", metrics)


def create_metrics(database: Database) -> Starlette:
    """An application with `/metrics` alone: for the worker."""
    return Starlette(routes=[metrics_route(database)])


class _Snapshot(Collector):
    def __init__(self, gauges: list[GaugeMetricFamily]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._gauges


async def _gauges(database: Database) -> list[GaugeMetricFamily]:
    """What all instances have in common. Without a database only that it is away."""
    up = GaugeMetricFamily("hub_database_up", "Whether PostgreSQL answers.")
    try:
        found = await _read(database)
    except (psycopg.Error, PoolTimeout):
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    return [up, *found]


async def _read(database: Database) -> list[GaugeMetricFamily]:
    async with database.requests.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(received_at)), 0), coalesce("
            "extract(epoch FROM now() - min(next_attempt) FILTER (WHERE next_attempt <= now())), 0),"
            " (SELECT value FROM cursors WHERE name = 'events') FROM inbox WHERE outcome IS NULL"
        )
        inbox = await cursor.fetchone()
        cursor = await connection.execute(
            "SELECT status, count(*),"
            " count(*) FILTER (WHERE last_contact > now() - make_interval(hours => %s))"
            " FROM routers GROUP BY status",
            (_ACTIVE_HOURS,),
        )
        routers = await cursor.fetchall()
    assert inbox is not None, "an aggregate has a row"
    depth, oldest, lag, swept = inbox
    found = [
        _gauge("hub_inbox_events", "Events of Stripe that wait for a worker.", depth),
        _gauge("hub_inbox_oldest_seconds", "Age of the oldest event that waits.", oldest),
        _gauge("hub_worker_lag_seconds", "For how long the most overdue event has been due.", lag),
        _gauge("hub_routers_in_contact", "Routers that called in 24 hours.", sum(row[2] for row in routers)),
    ]
    if swept is not None:
        age = time.time() - float(swept)
        found.append(_gauge("hub_sweep_age_seconds", "Since the last sweep for lost events.", age))
    by_status = GaugeMetricFamily("hub_routers", "Routers by status.", labels=["status"])
    for status, count, _seen in routers:
        by_status.add_metric([status], count)
    return [*found, by_status]


def _gauge(name: str, documentation: str, value: Any) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=float(value))
