"""Secret and restricted keys: who may do what.  https://docs.stripe.com/keys

Every `sk_test_…` and `rk_test_…` belongs to the one account, every `sk_live_…` to its live side.  Two test
keys are broken on purpose: those that start with `sk_test_invalid` are unknown, those with
`sk_test_expired` have expired.
"""

from __future__ import annotations

import base64
import binascii
import re

from .api_errors import StripeApiError, redact_key, unauthorized
from .routes import Route

_KEY = re.compile(r"(?P<kind>sk|rk|pk)_(?P<mode>test|live)_\w+")
NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using "
    "Bearer auth (e.g. "
    "'Authorization: Bearer YOUR_SECRET_KEY')."
)


class ApiKeys:
    """`restrict` configures what a restricted key lacks; without that, it may do everything."""

    def __init__(self) -> None:
        self._missing: dict[str, frozenset[str]] = {}
        self._revoked: set[str] = set()

    def restrict(self, key: str, missing: list[str]) -> None:
        """`missing`: permission names such as `rak_webhook_write`; `*` stands for all. Without `rak_`, the
        refusal is the newer one, which names the permission so and has the code `more_permissions_required`.
        """
        self._missing[key] = frozenset(missing)

    def revoke(self, key: str) -> None:
        """From now on the key is an expired one; `*`: every key."""
        self._revoked.add(key)

    def restore(self, key: str) -> None:
        """Undo `revoke`, which Stripe cannot."""
        self._revoked.discard(key)

    @property
    def all_revoked(self) -> bool:
        return "*" in self._revoked

    def authenticate(self, header: str | None) -> tuple[str, bool]:
        """(key, livemode) of an Authorization header; StripeApiError 401 or 403."""
        key = _key_of(header)
        if not key:
            raise unauthorized(NO_KEY)
        match = _KEY.fullmatch(key)
        if match is None or key.startswith(("sk_test_invalid", "rk_test_invalid")):
            raise unauthorized(f"Invalid API Key provided: {redact_key(key)}")
        if self.all_revoked or key in self._revoked or key.startswith(("sk_test_expired", "rk_test_expired")):
            raise unauthorized(f"Expired API Key provided: {redact_key(key)}", code="api_key_expired")
        if match["kind"] == "pk":
            raise StripeApiError(
                403,
                "This API call cannot be made with a publishable API key. Please use a secret API key.",
                code="secret_key_required",
            )
        return key, match["mode"] == "live"

    def authorize(self, key: str, route: Route, account_id: str) -> None:
        """StripeApiError 403 if a restricted key lacks what the route needs."""
        missing = self._missing.get(key, frozenset())
        newer = route.needed.removeprefix("rak_")
        if newer in missing:
            raise _forbidden(key, account_id, newer, code="more_permissions_required")
        if route.needed in missing or "*" in missing:
            raise _forbidden(key, account_id, route.needed)


def _forbidden(key: str, account_id: str, permission: str, *, code: str | None = None) -> StripeApiError:
    return StripeApiError(
        403,
        f"The provided key '{redact_key(key)}' does not have the required permissions for this endpoint on "
        f"account '{account_id}'. Having the '{permission}' permission would allow this request to continue.",
        code=code,
    )


def _key_of(header: str | None) -> str | None:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("ascii").partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
