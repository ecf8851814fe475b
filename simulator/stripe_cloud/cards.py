"""The test cards: what each does when it is charged.

Numbers and their behaviour are Stripe's (https://docs.stripe.com/testing).  Besides the number, a short
name works where a card is asked for: `bank_debit` is a SEPA account that settles later, `bank_debit_fails`
one that is refused later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .clock import DAY


@dataclass(frozen=True)
class Decline:
    """Why a bank says no: Stripe's error code, the issuer's decline code, and the sentence a buyer reads."""

    code: str
    decline_code: str
    en: str
    it: str

    def text(self, locale: str) -> str:
        return self.it if locale.startswith("it") else self.en


GENERIC = Decline(
    "card_declined",
    "generic_decline",
    "Your card was declined.",
    "La carta è stata rifiutata.",
)
INSUFFICIENT_FUNDS = Decline(
    "card_declined",
    "insufficient_funds",
    "Your card has insufficient funds.",
    "Il saldo disponibile sulla carta non è sufficiente.",
)
LOST_CARD = Decline("card_declined", "lost_card", GENERIC.en, GENERIC.it)
STOLEN_CARD = Decline("card_declined", "stolen_card", GENERIC.en, GENERIC.it)
EXPIRED_CARD = Decline("expired_card", "expired_card", "Your card has expired.", "La carta è scaduta.")
INCORRECT_CVC = Decline(
    "incorrect_cvc",
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    "Il codice di sicurezza della carta non è corretto.",
)
PROCESSING_ERROR = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    "Si è verificato un errore durante l’elaborazione della carta. Riprova tra qualche istante.",
)
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    "authentication_required",
    "We are unable to authenticate your payment method. Please choose a different payment method and try "
    "again.",
    "Non è stato possibile autenticare il metodo di pagamento. Scegline un altro e riprova.",
)
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    "La carta è stata rifiutata: questo pagamento richiede l’autenticazione.",
)
DEBIT_REFUSED = Decline(
    "payment_intent_payment_attempt_failed",
    "generic_decline",
    "The bank did not honour the debit.",
    "La banca non ha eseguito l’addebito.",
)


@dataclass(frozen=True)
class TestCard:
    """`decline`: when the buyer is there; `later_decline`: when charged without them (renewals)."""

    __test__ = False  # pytest: not a test class

    number: str
    name_en: str
    name_it: str
    brand: str = "visa"
    country: str = "IT"
    funding: str = "credit"
    kind: str = "card"
    exp_month: int = 12
    exp_year: int = 2034
    decline: Decline | None = None
    later_decline: Decline | None = None
    challenge: str = "never"
    """`never`; `setup`: authenticates once, later charges pass; `always`: every charge asks, so renewals
    fail.
    """
    disputed: bool = False
    settles_after: int = 0
    """Seconds until a bank debit is final; 0: at once."""
    settlement_fails: bool = False

    @property
    def last4(self) -> str:
        return "3000" if self.kind == "sepa_debit" else self.number[-4:]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]

    def title(self, locale: str) -> str:
        return self.name_it if locale.startswith("it") else self.name_en


CARDS: dict[str, TestCard] = {
    card.number: card
    for card in (
        TestCard("4242424242424242", "Succeeds", "Va a buon fine"),
        TestCard("4000000000000002", "Declined", "Rifiutata", decline=GENERIC),
        TestCard("4000002500003155", "3-D Secure", "3-D Secure", challenge="setup"),
        TestCard("bank_debit", "Bank debit", "Addebito bancario", kind="sepa_debit", settles_after=3 * DAY),
        TestCard("4000000000009995", "No funds", "Senza fondi", decline=INSUFFICIENT_FUNDS),
        TestCard("4000000000000341", "Renewals fail", "Rinnovi rifiutati", later_decline=GENERIC),
        TestCard("4000002760003184", "Asks every time", "Chiede ogni volta", challenge="always"),
        TestCard("4000000000000259", "Disputed", "Contestata", disputed=True),
        TestCard(
            "bank_debit_fails",
            "Bank debit, refused",
            "Addebito bancario respinto",
            kind="sepa_debit",
            settles_after=3 * DAY,
            settlement_fails=True,
        ),
        TestCard("4000000000000069", "Expired", "Scaduta", decline=EXPIRED_CARD),
        TestCard("4000000000000127", "Wrong CVC", "CVC errato", decline=INCORRECT_CVC),
        TestCard("4000000000000119", "Processing error", "Errore di elaborazione", decline=PROCESSING_ERROR),
        TestCard("4000000000009987", "Lost", "Smarrita", decline=LOST_CARD),
        TestCard("4000000000009979", "Stolen", "Rubata", decline=STOLEN_CARD),
        TestCard(
            "4000008400001629",
            "3-D Secure, declined",
            "3-D Secure, rifiutata",
            decline=GENERIC,
            challenge="setup",
        ),
        TestCard("5555555555554444", "Mastercard", "Mastercard", brand="mastercard"),
    )
}

_ALIASES = {
    "visa": "4242424242424242",
    "ok": "4242424242424242",
    "declined": "4000000000000002",
    "insufficient_funds": "4000000000009995",
    "3ds": "4000002500003155",
    "three_d_secure": "4000002500003155",
    "renewal_fails": "4000000000000341",
    "disputed": "4000000000000259",
    "mastercard": "5555555555554444",
}


def find_card(number: str) -> TestCard | None:
    """A card by number (spaces and dashes ignored) or short name; None for anything else: real numbers are
    refused.
    """
    plain = number.strip().replace(" ", "").replace("-", "")
    return CARDS.get(_ALIASES.get(plain, plain))
