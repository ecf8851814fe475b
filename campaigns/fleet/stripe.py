"""Stripe as a fleet meets it: what a request costs, what the limits refuse, when nothing answers.

Limits as documented at https://docs.stripe.com/rate-limits (read in 2026): an account may make 100 requests a
second (25 in a sandbox), 25 of them to the same endpoint, and 20 searches. A refusal is a 429; a Retry-After
is not documented, so fleets are simulated with and without one.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import stripe

from stripe_payments.sync.poll_round import Kind

Endpoint = str

ENDPOINTS: Final[dict[Kind, Endpoint]] = {
    "find_customer": "GET /v1/customers/search",
    "is_customer": "GET /v1/customers/{id}",
    "sessions": "GET /v1/checkout/sessions",
    "older_sessions": "GET /v1/checkout/sessions",
    "subscriptions": "GET /v1/subscriptions",
    "unlisted": "GET /v1/subscriptions/{id}",
    "invoices": "GET /v1/invoices",
    "charges": "GET /v1/charges",
    "dispute": "GET /v1/disputes",
    "checkout": "GET /v1/checkout/sessions/{id}",
}
"""What the poller's questions are at Stripe."""

CREATE_CUSTOMER: Final[Endpoint] = "POST /v1/customers"
CREATE_SESSION: Final[Endpoint] = "POST /v1/checkout/sessions"

OK: Final = 200
TOO_MANY: Final = 429
BROKEN: Final = 500
REFUSED: Final = 0
"""No connection: the request never got there."""


@dataclass(frozen=True)
class Limits:
    """Requests a second; None: unlimited. retry_after: seconds that a refusal asks for, if it does."""

    account: float | None = 100.0
    endpoint: float | None = 25.0
    search: float | None = 20.0
    retry_after: int | None = None

    def of(self, endpoint: Endpoint) -> float | None:
        return self.search if endpoint == ENDPOINTS["find_customer"] else self.endpoint


LIVE: Final = Limits()


class _Bucket:
    """Lets through so many a second, and as many at once as a second's worth."""

    __slots__ = ("_at", "_most", "_rate", "left")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self.left = max(1.0, rate)
        self._at = 0.0

    def filled(self, now: float) -> bool:
        left = self.left + (now - self._at) * self._rate
        self.left = left if left < self._most else self._most
        self._at = now
        return self.left >= 1.0


@dataclass(frozen=True)
class Outage:
    """From `since` to `until` (seconds) every request ends with `status`."""

    since: float
    until: float
    status: int


class Seconds:
    """A number for every second."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = array("I")

    def add(self, second: int) -> None:
        try:
            self._counts[second] += 1
        except IndexError:
            self._counts.extend(itertools.repeat(0, second + 1 - len(self._counts)))
            self._counts[second] += 1

    def between(self, since: float, until: float) -> array[int]:
        """Those of the seconds from `since` to `until`."""
        first, last = int(since), int(until)
        found = self._counts[first:last]
        found.extend(itertools.repeat(0, last - first - len(found)))
        return found


class Seen:
    """What arrived, by the second: all requests, those that a limit refused, those to each endpoint."""

    def __init__(self) -> None:
        self.requests = Seconds()
        self.refused = Seconds()
        self.endpoints: dict[Endpoint, Seconds] = {}

    def peak(self, since: float, until: float) -> int:
        """Most requests in a second."""
        return max(self.requests.between(since, until), default=0)

    def endpoint_peak(self, since: float, until: float) -> int:
        """Most requests to one endpoint in a second."""
        return max(
            (max(seconds.between(since, until), default=0) for seconds in self.endpoints.values()), default=0
        )

    def total(self, since: float, until: float) -> int:
        return sum(self.requests.between(since, until))

    def refused_share(self, since: float, until: float) -> float:
        """Per cent of the requests that a limit refused."""
        total = self.total(since, until)
        return 100.0 * sum(self.refused.between(since, until)) / total if total else 0.0


class StripeAccount:
    """`ask` returns the HTTP status of one request."""

    def __init__(self, limits: Limits = LIVE, outages: Iterable[Outage] = ()) -> None:
        self.limits = limits
        self.outages = list(outages)
        self.seen = Seen()
        self._all = _Bucket(limits.account) if limits.account is not None else None
        self._each: dict[Endpoint, _Bucket] = {}

    def ask(self, now: float, endpoint: Endpoint) -> int:
        status = OK
        for outage in self.outages:
            if outage.since <= now < outage.until:
                status = outage.status
        if status == REFUSED:
            return status
        second, seen = int(now), self.seen
        seen.requests.add(second)
        if endpoint not in seen.endpoints:
            seen.endpoints[endpoint] = Seconds()
        seen.endpoints[endpoint].add(second)
        if status != OK:
            return status
        if not self._lets_through(now, endpoint):
            seen.refused.add(second)
            return TOO_MANY
        return OK

    def _lets_through(self, now: float, endpoint: Endpoint) -> bool:
        each = self._each.get(endpoint)
        if each is None and (rate := self.limits.of(endpoint)) is not None:
            each = self._each[endpoint] = _Bucket(rate)
        if self._all is not None and not self._all.filled(now):
            return False
        if each is not None and not each.filled(now):
            return False
        for bucket in (self._all, each):
            if bucket is not None:
                bucket.left -= 1.0
        return True


class Sdk:
    """The pinned SDK's own decisions about repeating a request."""

    def __init__(self, retries: int) -> None:
        self._client = stripe.RequestsClient()
        # the exceptions have no annotations in the SDK
        self._unreachable = cast(Any, stripe.APIConnectionError)("no connection", should_retry=True)
        self._retries = retries

    def repeats_in(self, status: int, repeated: int) -> float | None:
        """Seconds until the request is made again, having been `repeated` so often; None: that was the
        last.
        """
        if status == REFUSED:
            again = self._client._should_retry(None, self._unreachable, repeated, self._retries)
        else:
            again = self._client._should_retry(("", status, {}), None, repeated, self._retries)
        return self._client._sleep_time_seconds(repeated + 1) if again else None
