"""Stripe's error bodies: `{"error": {"type", "message", "code"?, "param"?, ...}}` with the HTTP status that
goes with them.

Source: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class StripeApiError(Exception):
    """An answer other than 200.  `body()` is exactly what goes over the wire."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        headers: dict[str, str] | None = None,
        extra: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.decline_code = decline_code
        self.headers = headers or {}
        self.extra = extra or {}

    def body(self) -> Json:
        error: Json = {}
        if self.code:
            error["code"] = self.code
        if self.decline_code:
            error["decline_code"] = self.decline_code
        if self.code:
            error["doc_url"] = "https://stripe.com/docs/error-codes/" + self.code.replace("_", "-")
        error["message"] = self.message
        if self.param:
            error["param"] = self.param
        error.update(self.extra)
        error["type"] = self.kind
        return {"error": error}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeApiError:
    """400: the request cannot be carried out as it is."""
    return StripeApiError(400, message, code=code, param=param)


def resource_missing(kind: str, object_id: str, *, param: str = "id", hint: str = "") -> StripeApiError:
    """404 for an id in the path, 400 for one in a parameter, as Stripe does."""
    status = 404 if param in {"id", "intent", "charge_id"} else 400
    named = kind.rsplit(".", maxsplit=1)[-1].replace("_", " ") if kind != "payment_intent" else kind
    return StripeApiError(
        status, f"No such {named}: '{object_id}'{hint}", code="resource_missing", param=param
    )


def unknown_url(method: str, path: str) -> StripeApiError:
    return StripeApiError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
    )


def not_simulated(what: str) -> StripeApiError:
    """501: Stripe does it, the simulator does not, and says so rather than ignore it."""
    return StripeApiError(501, f"not simulated: {what}", kind="api_error")


def unauthorized(message: str, *, code: str | None = None) -> StripeApiError:
    return StripeApiError(401, message, code=code, headers={"WWW-Authenticate": 'Bearer realm="Stripe"'})


def redact_key(key: str) -> str:
    """`sk_test_abcdef1234` becomes `sk_test_******1234`: enough to tell two keys apart, useless to anybody
    else.
    """
    shown = 8 if key[2:3] == "_" else 2
    head, tail = key[:shown], key[shown:]
    visible = tail[-4:] if len(tail) > 8 else ""
    return head + "*" * max(0, len(tail) - len(visible)) + visible
