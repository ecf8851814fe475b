from __future__ import annotations

import pytest

from stripe_payments.billing.declines import failure


@pytest.mark.parametrize(
    ("code", "decline_code", "reason"),
    [
        ("card_declined", "insufficient_funds", "insufficient_funds"),
        ("card_declined", "generic_decline", "declined"),
        ("card_declined", "stolen_card", "declined"),
        ("card_declined", None, "declined"),
        ("expired_card", None, "expired_card"),
        ("authentication_required", None, "authentication_required"),
        ("payment_intent_authentication_failure", None, "authentication_required"),
        ("country_unsupported", None, "country"),
        ("card_declined", "a_code_of_next_year", "declined"),
        (None, None, "declined"),
    ],
)
def test_reasons(code: str | None, decline_code: str | None, reason: str) -> None:
    found = failure(code, decline_code)
    assert found.reason == reason
    assert found.message.in_locale("it-IT") != found.message.in_locale("en")


def test_a_stolen_card_is_shown_as_an_ordinary_decline() -> None:
    assert failure("card_declined", "stolen_card").message == failure("card_declined").message
