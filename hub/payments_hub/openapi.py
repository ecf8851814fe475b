"""The OpenAPI document of what routers call, made from the methods' signatures and the tables of errors.

A test holds it to the code: every route, the members of requests and of replies, every error.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from payments_hub.errors import CODES
from payments_hub.methods import METHODS, RETURN_URLS
from stripe_payments import __version__
from stripe_payments.bus_api import api
from stripe_payments.bus_method import Argument, Between
from stripe_payments.errors import CODES as PAYMENT_CODES
from ubus_py import BOOLEAN, INT32

__all__ = ["document"]

_Schema = dict[str, Any]

_TEXT: Final[_Schema] = {"type": "string"}
_NUMBER: Final[_Schema] = {"type": "integer"}
_FLAG: Final[_Schema] = {"type": "boolean"}
_ANY: Final[_Schema] = {}
_LIST: Final[_Schema] = {"type": "array", "items": {}}
_TABLE: Final[_Schema] = {"type": "object"}
_SECRET: Final[_Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}
_CODE: Final[_Schema] = {"type": "string", "minLength": 1, "maxLength": 64}
_SHORT: Final[_Schema] = {"type": "string", "maxLength": 128}


def _object(members: Mapping[str, _Schema], optional: tuple[str, ...] = ()) -> _Schema:
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": dict(members), "required": required}


_IN_A_LANGUAGE: Final = _object(
    {"subscriptions": _LIST, "transactions": _LIST, "next": _ANY, "catalog": _TABLE}
)
_STATE: Final = _object(
    {
        "router_id": _TEXT,
        "catalog_version": _NUMBER,
        "poll_after": _NUMBER,
        "mode": {"type": "string", "enum": ["test", "live"]},
        "seller": _TABLE,
        "offline_days": _NUMBER,
        "events": _LIST,
        "features": _TABLE,
        "purchases": _LIST,
        "en": _IN_A_LANGUAGE,
        "it": _IN_A_LANGUAGE,
        "statement": _TEXT,
    }
)
_CATALOG: Final = _object(
    {"version": _NUMBER, "seller": _TABLE, "features": _TABLE, "plans": _TABLE, "products": _TABLE}
)
_ROUTER: Final = _object({"router_id": _TEXT})
_READY: Final = _object({"ok": _FLAG, "problems": _LIST})

_CALLS: Final[tuple[tuple[str, str, str, _Schema | None, int, _Schema], ...]] = (
    (
        "post",
        "/v1/enrollments",
        "Enrol under a secret that the router made and stored before; may be repeated.",
        _object({"secret": _SECRET, "code": _CODE, "board": _SHORT, "version": _SHORT}, ("code",)),
        201,
        _ROUTER,
    ),
    (
        "get",
        "/v1/state",
        "Everything the router shows. If-None-Match: 304; Prefer: wait=20 waits for a change. With the "
        "header Rotate-Credential the vendor requests another credential (/v1/credentials/rotate).",
        None,
        200,
        _STATE,
    ),
    ("get", "/v1/catalog", "Plans, products and prices in both languages.", None, 200, _CATALOG),
    (
        "post",
        "/v1/statements",
        "A JWT (ES256) of ten minutes for one audience.",
        _object({"audience": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,200}$"}}),
        200,
        _object({"statement": _TEXT}),
    ),
    (
        "post",
        "/v1/credentials/rotate",
        "Name the credential that is used from now on; the old one works until the new one was used.",
        _object({"secret": _SECRET}),
        200,
        _ROUTER,
    ),
    (
        "post",
        "/v1/recovery-codes",
        "A code that moves what was bought to another router, once; earlier codes end.",
        None,
        201,
        _object({"code": _TEXT}),
    ),
    ("post", "/v1/recovery", "Move what was bought to this router.", _object({"code": _CODE}), 200, _ROUTER),
    (
        "post",
        "/stripe/webhook",
        "Stripe's deliveries, signed.",
        _TABLE,
        200,
        _object({"received": _FLAG}),
    ),
    (
        "get",
        "/.well-known/jwks.json",
        "The public keys of statements (RFC 7517).",
        None,
        200,
        _object({"keys": _LIST}),
    ),
    ("get", "/healthz", "Whether the process runs.", None, 200, _object({"ok": _FLAG})),
    ("get", "/readyz", "Whether requests can be served; 503 with the problems if not.", None, 200, _READY),
    ("get", "/openapi.json", "This document.", None, 200, _TABLE),
)
"""Verb, path, what it does, the body, the status and the reply."""

_OPEN: Final = frozenset(
    {
        "/v1/enrollments",
        "/stripe/webhook",
        "/.well-known/jwks.json",
        "/healthz",
        "/readyz",
        "/openapi.json",
    }
)
"""Without a credential."""

_ERROR: Final = {
    "description": "An error.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


@cache
def document() -> Mapping[str, Any]:
    """The document, as JSON."""
    paths = {
        path: {verb: _operation(path, summary, body, status, reply)}
        for verb, path, summary, body, status, reply in _CALLS
    }
    for name in METHODS:
        summary, _line, details = inspect.cleandoc(api[name].help).partition("\n")
        operation = _operation("/v1/methods", summary, _arguments(name), 200, _TABLE)
        operation["description"] = details.strip()
        operation["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "A repeated request with the same key gets the first one's reply.",
            }
        ]
        paths[f"/v1/methods/{name}"] = {"post": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stripe payments hub",
            "version": __version__,
            "description": "What routers call. Amounts are in minor units, times RFC 3339 in UTC; messages "
            "are in the language of Accept-Language (en, it).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"credential": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error()},
        },
    }


def _operation(path: str, summary: str, body: _Schema | None, status: int, reply: _Schema) -> _Schema:
    operation: _Schema = {
        "summary": summary,
        "security": [] if path in _OPEN else [{"credential": []}],
        "responses": {
            str(status): {"description": "Done.", "content": {"application/json": {"schema": reply}}},
            "default": _ERROR,
        },
    }
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _arguments(method: str) -> _Schema:
    arguments = {argument.name: _argument(argument) for argument in api[method].arguments}
    required = {argument.name for argument in api[method].arguments if argument.required}
    required |= set(RETURN_URLS.get(method, ()))
    optional = tuple(name for name in arguments if name not in required)
    return _object({**arguments, "locale": _TEXT}, (*optional, "locale"))


def _argument(argument: Argument) -> _Schema:
    if argument.type is BOOLEAN:
        return _FLAG
    if argument.type is INT32 and isinstance(argument.constraint, Between):
        return {**_NUMBER, "minimum": argument.constraint.minimum, "maximum": argument.constraint.maximum}
    return _TEXT


def _error() -> _Schema:
    codes = sorted({*CODES, *PAYMENT_CODES})
    members = {"code": {"type": "string", "enum": codes}, "message": _TEXT, "hint": _TEXT, "user_hint": _TEXT}
    return _object({"error": _object(members, ("hint",))})
