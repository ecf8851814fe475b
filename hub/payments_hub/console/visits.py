"""Who calls a page: the session's cookie, the token of its forms, the language.

The token is derived from the cookie, so nothing is stored for it; the login form has a cookie of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from payments_hub.errors import VendorError
from payments_hub.operators import LONGEST_HOURS, Operator
from payments_hub.texts import _, language
from stripe_payments.i18n import accepted_language

__all__ = ["LANGUAGE", "LOGIN", "SESSION", "Visit", "local_path", "read_form", "set_cookie", "token_of"]

SESSION: Final = "hub_session"
LOGIN: Final = "hub_login"
LANGUAGE: Final = "hub_language"
_PATH: Final = "/console"
_LONGEST_FORM: Final = 16 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: `secret` is the cookie that its forms' token is derived from; `form` the fields sent."""

    request: Request
    locale: str
    secret: str
    operator: Operator | None = None
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return token_of(self.secret)

    def field(self, name: str) -> str:
        """A field of the form or of the address, without surrounding blanks; empty if it is not there."""
        return (self.form.get(name) or self.request.query_params.get(name) or "").strip()

    def check_token(self) -> None:
        """Raises VendorError ``form_expired`` for a form that is not of this session."""
        if not hmac.compare_digest(self.form.get("token", "").encode(), self.token.encode()):
            raise VendorError(
                "form_expired",
                _("The form is out of date."),
                _("Open the page again and repeat the action."),
            )


def token_of(secret: str) -> str:
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def locale_of(request: Request) -> str:
    """The language that was chosen, else what the browser prefers."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE)):
        if found := language(chosen):
            return found
    return accepted_language(request.headers.get("accept-language", "")) or "en"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form (application/x-www-form-urlencoded)."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            raise VendorError("form_too_large", _("The form is too large."), _("Shorten what you entered."))
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def local_path(text: str) -> str:
    """A path of the console to go on to after the login; never another site."""
    parts = urlsplit(text)
    inside = parts.path == _PATH or parts.path.startswith(f"{_PATH}/")
    if not inside or parts.scheme or parts.netloc or "\\" in text or not text.isprintable():
        return _PATH
    return text


def set_cookie(
    request: Request, response: Response, name: str, value: str, *, hours: float = LONGEST_HOURS
) -> None:
    """Set a cookie of the console, or delete it (empty). Secure unless the browser uses http on loopback."""
    forwarded = request.headers.get("x-forwarded-proto", request.url.scheme)
    plain = forwarded == "http" and (request.url.hostname or "") in _LOOPBACK
    response.set_cookie(
        name,
        value,
        max_age=0 if not value else int(hours * 3600),
        path=_PATH,
        secure=not plain,
        httponly=True,
        samesite="strict",
    )
