"""The result of one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Translatable, _

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
class _ErrorText:
    """A sentence of an error."""

    sentence: Callable[[str | None], str | None]

    def in_locale(self, locale: str | None) -> str:
        return self.sentence(locale) or ""


def from_error(error: PaymentError) -> Finding:
    """Return the error's message and hint as a finding."""
    return Finding("error", _ErrorText(error.message_in), _ErrorText(error.hint_in))


STARTING: Final = Finding("info", _("Not checked: the service is starting."))
NO_KEY: Final = Finding("info", _("Not checked: no secret key is set."))
STRIPE_UNREACHABLE: Final = Finding("info", _("Not checked: Stripe cannot be reached."))
