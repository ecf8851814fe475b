"""What one check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text, Translatable, _

Severity = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` and `info` need nobody to act; `warning`: something works less well; `error`: something does
    not.
    """

    severity: Severity
    detail: Translatable
    hint: Translatable | None = None

    @property
    def ok(self) -> bool:
        return self.severity in ("ok", "info")


def fine(detail: Text) -> Finding:
    return Finding("ok", detail)


def note(detail: Text, hint: Text | None = None) -> Finding:
    return Finding("info", detail, hint)


def warning(detail: Text, hint: Text) -> Finding:
    return Finding("warning", detail, hint)


def fault(detail: Text, hint: Text) -> Finding:
    return Finding("error", detail, hint)


@dataclass(frozen=True, slots=True)
class _OfError:
    """One of an error's sentences."""

    sentence: Callable[[str | None], str | None]

    def in_locale(self, locale: str | None) -> str:
        return self.sentence(locale) or ""


def of_error(error: PaymentError, severity: Severity = "error") -> Finding:
    """An error of ours says itself what it is and what to do."""
    return Finding(severity, _OfError(error.message_in), _OfError(error.hint_in))


STARTING: Final = note(_("Not checked: the service is still starting."))
NO_KEY: Final = note(_("Not checked: there is no secret key."))
STRIPE_AWAY: Final = note(_("Not checked: Stripe could not be asked."))
