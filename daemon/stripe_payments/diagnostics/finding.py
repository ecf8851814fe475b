"""What one check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.i18n import Text

Severity = Literal["ok", "info", "warning", "error"]

_NO_HINT: Final = Text("", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` and `info` need nobody to act; `warning`: something works less well; `error`: something does
    not.
    """

    severity: Severity
    detail: Text
    hint: Text = _NO_HINT

    @property
    def ok(self) -> bool:
        return self.severity in ("ok", "info")


def fine(en: str, it: str) -> Finding:
    return Finding("ok", Text(en, it))


def note(en: str, it: str, hint: Text = _NO_HINT) -> Finding:
    return Finding("info", Text(en, it), hint)


def warning(en: str, it: str, hint: Text) -> Finding:
    return Finding("warning", Text(en, it), hint)


def fault(en: str, it: str, hint: Text) -> Finding:
    return Finding("error", Text(en, it), hint)


def of_error(error: PaymentError, severity: Severity = "error") -> Finding:
    """An error of ours says itself what it is and what to do."""
    hint = Text(error.hint_in("en") or "", error.hint_in("it") or "")
    return Finding(severity, Text(error.message_in("en"), error.message_in("it")), hint)


def joined(texts: Iterable[Text]) -> Text:
    """Several remarks in one."""
    remarks = list(texts)
    return Text("; ".join(one.en for one in remarks), "; ".join(one.it for one in remarks))


STARTING: Final = note(
    "Not checked: the service is still starting.", "Non controllato: il servizio si sta ancora avviando."
)
NO_KEY: Final = note("Not checked: there is no secret key.", "Non controllato: manca la chiave segreta.")
STRIPE_AWAY: Final = note(
    "Not checked: Stripe could not be asked.", "Non controllato: non è stato possibile interrogare Stripe."
)
