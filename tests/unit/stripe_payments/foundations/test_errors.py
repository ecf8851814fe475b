"""Every error says in both languages what is wrong and what to do."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.errors import CODES, PaymentError
from stripe_payments.i18n import _
from ubus_py import Status

CONTRACT = {
    "invalid_argument",
    "unknown_price",
    "price_unavailable",
    "option_refused",
    "foreign_return_url",
    "not_configured",
    "disabled",
    "stripe_unreachable",
    "stripe_error",
    "stripe_key_invalid",
    "stripe_key_permission",
    "rate_limited",
    "already_owned",
    "unknown_feature",
    "subscription_not_found",
    "not_changeable",
    "payment_failed",
    "nothing_bought",
    "payment_not_found",
    "not_refundable",
    "amount_too_large",
    "login_required",
    "permission_denied",
    "cross_origin",
    "invalid_signature",
    "stale_timestamp",
    "webhook_not_configured",
    "clock_not_trusted",
    "body_too_large",
    "invalid_json",
    "unsupported_media_type",
    "method_not_allowed",
    "not_found",
    "timeout",
    "ledger_unavailable",
    "starting",
    "settings_malformed",
    "settings_not_stored",
    "internal_error",
    "not_enrolled",
    "seller_unreachable",
    "credential_refused",
    "router_revoked",
    "router_replaced",
    "router_not_empty",
    "enrollment_closed",
    "code_refused",
    "code_used",
    "foreign_page",
    "library_missing",
}


def test_the_list_is_the_contract() -> None:
    assert set(CODES) == CONTRACT


@pytest.mark.parametrize("code", sorted(CODES))
def test_without_details_each_code_is_a_whole_sentence_in_both_languages(code: str) -> None:
    error = PaymentError(code)
    for locale in ("en", "it"):
        message = error.message_in(locale)
        assert message[0].isupper()
        assert message[-1] in ".?!"
        assert not set(message) & set("{}[]"), message
        assert not set(error.hint_in(locale) or "") & set("{}[]")
    assert error.message_in("en") != error.message_in("it")


@pytest.mark.parametrize("code", sorted(CODES))
def test_with_every_detail_each_sentence_says_them(code: str) -> None:
    entry = CODES[code]
    texts = [text.template for text in (entry.message, entry.hint, entry.user_hint) if text is not None]
    names = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
    error = PaymentError(code, **{name: f"<{name}>" for name in names})
    said = " ".join(error.message_in(locale) + (error.hint_in(locale) or "") for locale in ("en", "it"))
    for name in names:
        assert said.count(f"<{name}>") >= 2, (name, said)  # both languages know the same details


@pytest.mark.parametrize("code", sorted(set(CODES) - {"method_not_allowed"}))
def test_each_code_says_what_to_do(code: str) -> None:
    assert PaymentError(code).hint_in("en")
    assert PaymentError(code).hint_in("it")


def test_the_statuses_are_those_of_the_design() -> None:
    documented = {400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 502, 503}
    assert {entry.http for entry in CODES.values()} <= documented
    assert all(entry.ubus is not Status.OK for entry in CODES.values())
    assert PaymentError("login_required").http_status == 401
    assert PaymentError("body_too_large").http_status == 413
    assert PaymentError("unknown_feature").ubus_status is Status.NOT_FOUND


def test_the_body_is_the_documented_shape() -> None:
    body = PaymentError("unknown_price", price_id="price_nope").body()
    assert body == {
        "error": {
            "code": "unknown_price",
            "message": "Unknown price “price_nope”.",
            "hint": "“catalog” lists the prices.",
            "user_hint": "Reload the shop and choose again.",
        }
    }
    assert "hint" not in PaymentError("method_not_allowed").body()["error"]
    assert (
        "Prezzo sconosciuto: “x”"
        in PaymentError("unknown_price", price_id="x").body("it-IT")["error"]["message"]
    )


def test_a_bilingual_detail_is_said_in_the_readers_language() -> None:
    error = PaymentError("not_refundable", payment_id="pi_1", reason=_("it is not paid"))
    assert error.message == "The payment “pi_1” cannot be refunded: it is not paid."
    assert error.message_in("it") == "Il pagamento “pi_1” non può essere rimborsato: non è stato pagato."


def test_a_reason_that_ends_its_sentence_is_not_ended_twice() -> None:
    assert PaymentError("stripe_error", reason="No such price.").message.endswith(": No such price.")


def test_an_unknown_code_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        PaymentError("no_such_code")


@given(st.text())
def test_a_callers_own_words_come_back_on_one_line_and_bounded(given_id: str) -> None:
    message = PaymentError("unknown_price", price_id=given_id).message
    assert len(message) < 300
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in message)


def test_a_detail_that_no_sentence_names_stays_out_of_it() -> None:
    error = PaymentError("stripe_unreachable", secret="sk_live_verysecret", retry_after=7)
    assert "secret" not in str(error.body())
    assert error.details["retry_after"] == 7


def test_bytes_that_are_no_text_do_not_spoil_the_answer() -> None:
    error = PaymentError("method_not_allowed", method="GET\udcff\ud800")
    for locale in ("en", "it"):
        assert "GET" in error.message_in(locale).encode("utf-8").decode()


def test_a_key_in_the_wrong_field_is_not_repeated() -> None:
    key = "sk_live_51ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"
    for error in (PaymentError("unknown_price", price_id=key), PaymentError("unknown_feature", feature=key)):
        for locale in ("en", "it"):
            assert "sk_live_…abcd" in error.message_in(locale)
            assert "ABCDEFGHIJ" not in error.message_in(locale)
        assert "ABCDEFGHIJ" not in str(error)
