"""Languages, texts and states of the pages."""

import pytest

from stripe_payments.http_api.outcome import TONES, outcome
from stripe_payments.http_api.page_texts import TEXTS, texts_in
from stripe_payments.i18n import accepted_language, language


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("it-IT,it;q=0.9,en;q=0.8", "it"),
        ("en-US,en;q=0.9,it;q=0.8", "en"),
        ("en;q=0.1, it;q=0.9", "it"),
        ("de, fr;q=0.9, it;q=0.2", "it"),
        ("it;q=0, en", "en"),
        ("IT", "it"),
        ("it;q=banana", None),
        ("*", None),
        ("", None),
        (",;q=;=,", None),
    ],
)
def test_accept_language_is_ordered_by_weight(header: str, expected: str | None) -> None:
    assert accepted_language(header) == expected


@pytest.mark.parametrize(
    ("tag", "expected"), [("it_IT", "it"), ("EN-gb", "en"), ("item", None), ("auto", None)]
)
def test_a_language_tag_is_its_first_part(tag: str, expected: str | None) -> None:
    assert language(tag) == expected


def test_every_text_is_translated() -> None:
    english, italian = texts_in("en"), texts_in("it")
    for key, text in english.items():
        assert italian[key] != text, f"{key} is not translated"


def test_every_state_has_its_words() -> None:
    for state in TONES:
        assert f"{state}_heading" in TEXTS
        assert f"{state}_lead" in TEXTS


def state_of(
    status: str,
    *,
    final: bool = True,
    checkout_open: bool = False,
    fetched: bool = True,
    left_checkout: bool = False,
    unlocked: bool = True,
) -> tuple[str, bool]:
    found = outcome(
        status,
        final=final,
        checkout_open=checkout_open,
        fetched=fetched,
        left_checkout=left_checkout,
        unlocked=unlocked,
    )
    return found.state, found.follow > 0


def test_a_final_payment_is_not_followed() -> None:
    for status, state in {
        "paid": "paid",
        "no_payment_required": "paid",
        "failed": "failed",
        "expired": "expired",
        "refunded": "refunded",
        "partially_refunded": "partially_refunded",
        "disputed": "disputed",
    }.items():
        assert state_of(status) == (state, False)
        assert state_of(status, left_checkout=True) == (state, False)


def test_paid_is_followed_until_its_features_are_unlocked() -> None:
    assert state_of("paid", unlocked=False) == ("paid", True)


def test_a_bank_debit_is_pending_and_followed() -> None:
    assert state_of("pending", checkout_open=False) == ("pending", True)


def test_not_paid_is_shown_only_after_a_fetch_from_stripe() -> None:
    assert state_of("unpaid", checkout_open=True, fetched=True) == ("open", True)
    assert state_of("unpaid", checkout_open=True, fetched=False) == ("waiting", True)
    assert state_of("unpaid", checkout_open=False) == ("waiting", True)


def test_the_cancel_link_shows_canceled_unless_it_was_paid() -> None:
    assert state_of("unpaid", checkout_open=True, left_checkout=True) == ("canceled", False)
    assert state_of("paid", left_checkout=True) == ("paid", False)


def test_a_declined_card_on_an_open_checkout_is_not_final() -> None:
    assert state_of("failed", final=False, checkout_open=True) == ("open", True)
    assert state_of("failed", final=True) == ("failed", False)
