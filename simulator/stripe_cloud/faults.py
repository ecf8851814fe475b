"""Faults a person or a test switches on: a slow, refusing or vanishing API, webhooks that get lost, doubled
or reordered.

The body of `POST /_sim/faults`, every key optional; keys that are given replace what was set, `{}` switches
all off:

    latency_ms       wait before answering
    status           answer with this status (429, 500, 503, 402, …) instead of the real answer
    stored           true: `status`, a 5xx, is kept under the request's idempotency key and replayed for a
                     day, as Stripe does with the result of a request that it began to carry out
    retry_after      seconds, sent as Retry-After along with `status`
    drop_connection  true: close the connection without an answer
    truncate         true: send half of the answer, then close the connection
    body             send this text instead: a captive portal's page, or some proxy's along with `status`
    content_type     of `body`; text/html if absent
    date_ahead       seconds by which the answer's Date header is wrong
    mangle           send the answer's JSON as something that it must not be: one of MANGLED. The request is
                     carried out
    when             "before" (default): the request is not carried out; "after": only its answer is lost
    count            how many requests are hit; unlimited if absent
    method, path     only these: GET/POST/DELETE, and a pattern such as /v1/refunds*
    webhooks         "on", "drop", "duplicate", "reorder"
    rules            a list of the above (without `webhooks`), tried in order
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from .api_errors import Json, invalid
from .mangling import MANGLED

WEBHOOK_MODES = ("on", "drop", "duplicate", "reorder")


@dataclass
class Fault:
    """One rule about requests to the API."""

    latency_ms: int = 0
    status: int | None = None
    stored: bool = False
    retry_after: int | None = None
    drop_connection: bool = False
    truncate: bool = False
    body: str | None = None
    content_type: str = "text/html; charset=utf-8"
    date_ahead: int = 0
    mangle: str | None = None
    when: str = "before"
    count: int | None = None
    method: str | None = None
    path: str | None = None

    def hits(self, method: str, path: str) -> bool:
        return (
            self.count != 0
            and self.method in {None, method}
            and (self.path is None or fnmatchcase(path, self.path) or path == self.path)
        )


_KEYS = {field.name: field.type for field in fields(Fault)}
_CHECKS: dict[str, Any] = {
    "latency_ms": lambda value: isinstance(value, int) and 0 <= value <= 600_000,
    "status": lambda value: isinstance(value, int) and 400 <= value <= 599,
    "stored": lambda value: isinstance(value, bool),
    "retry_after": lambda value: isinstance(value, int) and value >= 0,
    "drop_connection": lambda value: isinstance(value, bool),
    "truncate": lambda value: isinstance(value, bool),
    "body": lambda value: isinstance(value, str),
    "content_type": lambda value: isinstance(value, str),
    "date_ahead": lambda value: isinstance(value, int) and abs(value) <= 100 * 366 * 86_400,
    "mangle": lambda value: value in MANGLED,
    "when": lambda value: value in {"before", "after"},
    "count": lambda value: isinstance(value, int) and value >= 0,
    "method": lambda value: value in {"GET", "POST", "DELETE"},
    "path": lambda value: isinstance(value, str),
}


class Faults:
    """`webhooks` is one of WEBHOOK_MODES."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self.webhooks = "on"

    def configure(self, body: Json) -> Json:
        """Apply a request body; returns what is set now.  StripeApiError 400 for what it does not know."""
        if not body:
            self.reset()
            return self.describe()
        given = dict(body)
        mode = given.pop("webhooks", self.webhooks) or "on"
        if mode not in WEBHOOK_MODES:
            raise invalid(f"webhooks is one of {', '.join(WEBHOOK_MODES)}", param="webhooks")
        rules = given.pop("rules", None)
        if rules is not None and not isinstance(rules, list):
            raise invalid("rules is a list of objects", param="rules")
        if rules is not None:
            parsed = [_rule(rule) for rule in rules]
        elif given:
            parsed = [_rule(given)]
        else:
            parsed = self.rules
        self.webhooks, self.rules = mode, parsed
        return self.describe()

    def reset(self) -> None:
        self.rules = []
        self.webhooks = "on"

    def describe(self) -> Json:
        rules = [
            {
                name: value
                for name, value in asdict(rule).items()
                if value not in (None, False) and (name != "content_type" or rule.body is not None)
            }
            for rule in self.rules
        ]
        return {"webhooks": self.webhooks, "rules": rules}

    def take(self, method: str, path: str) -> Fault | None:
        """The rule that hits this request, counted down; None if it goes through."""
        for rule in self.rules:
            if rule.hits(method, path):
                if rule.count is not None:
                    rule.count -= 1
                return rule
        return None


def _rule(given: Any) -> Fault:
    if not isinstance(given, dict):
        raise invalid("a rule is an object", param="rules")
    kept = {name: value for name, value in given.items() if value is not None}
    for name, value in kept.items():
        if name not in _KEYS:
            raise invalid(f"unknown fault: {name}", param=name)
        if not _CHECKS[name](value):
            raise invalid(f"a fault's {name} cannot be {value!r}", param=name)
    if kept.keys() <= {"when", "count", "method", "path"}:
        return Fault(count=0)
    return Fault(**kept)
