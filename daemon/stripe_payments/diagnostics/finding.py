"""A check and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, Translatable, _

QUICK_S: Final = 3.0
DISK_S: Final = 6.0
BUS_S: Final = 6.0
NETWORK_S: Final = 10.0
STRIPE_S: Final = 15.0

Severity = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`, `info`: no action needed; `warning`: degraded; `error`: broken. The last two have a hint."""

    severity: Severity
    detail: Translatable
    hint: Translatable | None = None

    @property
    def ok(self) -> bool:
        return self.severity in ("ok", "info")


@dataclass(frozen=True, slots=True)
class Check:
    """`run` gets the `Probes`, in direct mode `StripeProbes`. `timeout` in seconds: a check that exceeds it
    is an error itself.
    """

    id: str
    run: Callable[[Any], Awaitable[Finding]]
    timeout: float


@dataclass(frozen=True, slots=True)
class _ErrorText:
    """A sentence of an error."""

    sentence: Callable[[str | None], str | None]

    def in_locale(self, locale: str | None) -> str:
        return self.sentence(locale) or ""


def ago(seconds: int) -> Text:
    """Return an age as a person says it: minutes up to two hours, hours up to two days, then days."""
    minutes = max(0, seconds) // 60
    if minutes < 120:
        return _("{count} min ago", count=minutes)
    if minutes < 48 * 60:
        return _("{count} hours ago", count=minutes // 60)
    return _("{count} days ago", count=minutes // (24 * 60))


def from_error(error: PaymentError) -> Finding:
    """Return the error's message and hint as a finding."""
    return Finding("error", _ErrorText(error.message_in), _ErrorText(error.hint_in))


STARTING: Final = Finding("info", _("Not checked: the service is starting."))
NO_KEY: Final = Finding("info", _("Not checked: no secret key is set."))
STRIPE_UNREACHABLE: Final = Finding("info", _("Not checked: Stripe cannot be reached."))
