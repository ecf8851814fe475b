"""The errors of the hub's own calls, and of the vendor's operations; those of payments are
`stripe_payments.errors`, unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from stripe_payments.i18n import Title, Translatable

__all__ = ["CODES", "HubError", "VendorError"]


class Code(NamedTuple):
    """The HTTP status, what happened, and what the reader can do about it."""

    http: int
    message: Title
    hint: Title


CODES: Final[Mapping[str, Code]] = {
    "credential_missing": Code(
        401,
        Title("The request has no credential.", "La richiesta è priva di credenziale."),
        Title(
            "Send “Authorization: Bearer …” with the secret that this router enrolled with.",
            "Invia “Authorization: Bearer …” con il segreto con cui questo router si è registrato.",
        ),
    ),
    "credential_refused": Code(
        401,
        Title("The seller does not know this router.", "Il venditore non conosce questo router."),
        Title(
            "Enrol the router again with a code from the seller.",
            "Registra di nuovo il router con un codice del venditore.",
        ),
    ),
    "router_revoked": Code(
        403,
        Title("The seller has blocked this router.", "Il venditore ha bloccato questo router."),
        Title("Contact the seller.", "Contatta il venditore."),
    ),
    "router_replaced": Code(
        403,
        Title(
            "What was bought on this router has been moved to another one.",
            "Ciò che era stato acquistato su questo router è passato a un altro.",
        ),
        Title(
            "Contact the seller if that was not you.",
            "Contatta il venditore se non sei stato tu.",
        ),
    ),
    "enrollment_closed": Code(
        403,
        Title("Enrolling needs a code.", "Per registrarsi serve un codice."),
        Title("Get a code from the seller.", "Richiedi un codice al venditore."),
    ),
    "code_refused": Code(
        403,
        Title("The code is wrong or has expired.", "Il codice è errato o scaduto."),
        Title(
            "Check it, or get a new one from the seller.", "Controllalo, o richiedine uno nuovo al venditore."
        ),
    ),
    "code_used": Code(
        409,
        Title("The code has been used by another router.", "Il codice è già stato usato da un altro router."),
        Title("Get a new one from the seller.", "Richiedine uno nuovo al venditore."),
    ),
    "router_not_empty": Code(
        409,
        Title(
            "This router has purchases of its own.",
            "Questo router ha già acquisti propri.",
        ),
        Title(
            "Contact the seller: only they can merge purchases of two routers.",
            "Contatta il venditore: solo lui può unire gli acquisti di due router.",
        ),
    ),
    "idempotency_key_reused": Code(
        409,
        Title(
            "The Idempotency-Key was used for a different request.",
            "L'Idempotency-Key è già stata usata per una richiesta diversa.",
        ),
        Title("Use a new key for a new request.", "Usa una chiave nuova per una richiesta nuova."),
    ),
    "unknown_method": Code(
        404,
        Title("There is no such call.", "Questa chiamata non esiste."),
        Title("/openapi.json lists all calls.", "/openapi.json elenca tutte le chiamate."),
    ),
    "busy": Code(
        503,
        Title("The seller's server is busy.", "Il server del venditore è occupato."),
        Title("Retry in a moment.", "Riprova tra un momento."),
    ),
    "no_catalog": Code(
        503,
        Title("The seller has nothing on sale yet.", "Il venditore non ha ancora nulla in vendita."),
        Title("Try again later.", "Riprova più tardi."),
    ),
}


class HubError(Exception):
    """An error that is returned to the caller. `retry_after`: seconds, for the header of that name."""

    def __init__(self, code: str, *, retry_after: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after

    @property
    def entry(self) -> Code:
        return CODES[self.code]

    @property
    def http_status(self) -> int:
        return CODES[self.code].http

    def body(self, locale: str | None) -> dict[str, dict[str, str]]:
        """The same shape as `PaymentError.body`."""
        entry = CODES[self.code]
        hint = entry.hint.in_locale(locale)
        return {
            "error": {
                "code": self.code,
                "message": entry.message.in_locale(locale),
                "hint": hint,
                "user_hint": hint,
            }
        }


class VendorError(Exception):
    """An operation of the vendor's that cannot be done: why, and what to do about it."""

    def __init__(self, code: str, message: Translatable, hint: Translatable) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.hint = hint
