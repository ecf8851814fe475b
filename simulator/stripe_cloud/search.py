"""Stripe's search query language, as far as its search endpoints need: clauses joined by AND or OR.

`metadata['router_id']:'abc' AND email~'example'`; a clause may be negated with `-`; numbers compare with
`>`, `<`, `>=`, `<=`.  Unlike the real service, a new object is found at once.
https://docs.stripe.com/search
"""

from __future__ import annotations

import re
from typing import Any

from .account import Account
from .api_errors import Json, invalid
from .rendering import expand_list

_CLAUSE = re.compile(
    r"""\s*(?P<not>-?)(?P<field>[a-z_.]+)(?:\[(?P<q>['"])(?P<key>.*?)(?P=q)\])?\s*"""
    r"""(?P<op>>=|<=|:|~|>|<)\s*(?:(?P<q2>['"])(?P<text>(?:\\.|[^\\])*?)(?P=q2)|(?P<bare>[^\s]+))\s*"""
)
DEFAULT_LIMIT = 10


def search(account: Account, kind: str, params: Json, url: str) -> Json:
    """The `search_result` for `params["query"]`; 400 for a query that cannot be read."""
    if not account.settings["search"]:
        # not offered to every account: https://docs.stripe.com/api/customers/search
        raise invalid("The search feature is temporarily unavailable in your region.")
    clauses, any_of = _parse(params["query"])
    combine = any if any_of else all
    rows = [row for row in account.newest_first(kind) if combine(_holds(row, clause) for clause in clauses)]
    start = int(params["page"]) if str(params.get("page", "")).isdecimal() else 0
    limit = params.get("limit", DEFAULT_LIMIT)
    answer: Json = {
        "object": "search_result",
        "data": [dict(row) for row in rows[start : start + limit]],
        "has_more": len(rows) > start + limit,
        "next_page": str(start + limit) if len(rows) > start + limit else None,
        "url": url,
    }
    expand_list(account, answer, params.get("expand", []))
    return answer


def _parse(query: str) -> tuple[list[re.Match[str]], bool]:
    clauses: list[re.Match[str]] = []
    joins: set[str] = set()
    rest = query
    while rest.strip():
        match = _CLAUSE.match(rest)
        if match is None:
            raise invalid(f"We were unable to parse your search query: {query}", param="query")
        clauses.append(match)
        rest = rest[match.end() :]
        joined = re.match(r"(AND|OR)\s+", rest, re.IGNORECASE)
        if joined:
            joins.add(joined[1].upper())
            rest = rest[joined.end() :]
    if not clauses or len(joins) > 1:
        raise invalid(
            "A search query needs at least one clause, and cannot combine AND with OR.", param="query"
        )
    return clauses, joins == {"OR"}


def _holds(row: Json, clause: re.Match[str]) -> bool:
    value: Any = row
    for part in clause["field"].split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if clause["key"] is not None:
        value = value.get(clause["key"]) if isinstance(value, dict) else None
    wanted = clause["bare"] if clause["text"] is None else re.sub(r"\\(.)", r"\1", clause["text"])
    found = _compare(value, clause["op"], wanted)
    return found != (clause["not"] == "-")


def _compare(value: Any, operator: str, wanted: str) -> bool:
    if wanted == "null":
        return value is None
    if value is None:
        return False
    if operator == ":":
        return str(value).lower() == wanted.lower()
    if operator == "~":
        return wanted.lower() in str(value).lower()
    if not isinstance(value, int) or not wanted.lstrip("-").isdecimal():
        return False
    limit = int(wanted)
    return {">": value > limit, "<": value < limit, ">=": value >= limit, "<=": value <= limit}[operator]
