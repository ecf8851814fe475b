from __future__ import annotations

import time

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.errors import PaymentError
from stripe_payments.stripe_api.webhook_delivery import TOLERANCE, sign, verify

SECRET = "whsec_4f1b0d9c8e7a"
NOW = 1_792_000_000
BODY = b'{"id":"evt_1","object":"event","note":"\xc3\xa8"}'


def header(body: bytes = BODY, at: int = NOW, secret: str = SECRET) -> str:
    return f"t={at},v1={sign(body, secret, at)}"


def refusal(body: bytes, given: str | None, secret: str | None = SECRET, now: int = NOW) -> str:
    with pytest.raises(PaymentError) as raised:
        verify(body, given, secret, now)
    return raised.value.code


@given(st.text(), st.integers(0, 2**33))
def test_it_agrees_with_the_sdk(text: str, at: int) -> None:
    made = stripe.WebhookSignature.generate_signature_header(text, SECRET, at)
    assert verify(text.encode(), made, SECRET, at) == at
    ours = f"t={at},v1={sign(text.encode(), SECRET, at)}"
    assert stripe.WebhookSignature.verify_header(text, ours, SECRET)


def test_the_signature_is_over_the_raw_bytes() -> None:
    assert verify(BODY, header(), SECRET, NOW) == NOW
    reencoded = BODY.replace(b"\xc3\xa8", b"\\u00e8")
    assert refusal(reencoded, header()) == "invalid_signature"


def test_bytes_that_are_not_utf8_can_be_signed() -> None:
    body = b"\xff\xfe\x00"
    assert verify(body, header(body), SECRET, NOW) == NOW


def test_any_v1_entry_is_enough_while_a_secret_is_rolled() -> None:
    made = f"t={NOW},v1={'0' * 64},v0=ignored,v1={sign(BODY, SECRET, NOW)}"
    assert verify(BODY, made, SECRET, NOW) == NOW


def test_other_schemes_are_rejected() -> None:
    assert refusal(BODY, f"t={NOW},v0={sign(BODY, SECRET, NOW)}") == "invalid_signature"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "nonsense",
        f"t={NOW}",
        f"v1={sign(BODY, SECRET, NOW)}",
        f"t=,v1={sign(BODY, SECRET, NOW)}",
        f"t=-1,v1={sign(BODY, SECRET, NOW)}",
        f"t=١٢٣,v1={sign(BODY, SECRET, NOW)}",
        f"t={NOW},v1=",
        f"t={NOW},v1=è\udcff",
        f"t={NOW},v1={sign(BODY, SECRET, NOW)[:-1]}",
        "t=1," + "v1=x," * 2000,
    ],
)
def test_a_malformed_header_is_rejected(given: str | None) -> None:
    assert refusal(BODY, given) == "invalid_signature"


def test_only_values_of_a_digests_length_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare_digest` hides where two texts differ, but not that their lengths do."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    right = sign(BODY, SECRET, NOW)
    for guess in ("", "0", right[:-1], right + "0", "è" * 64):
        assert refusal(BODY, f"t={NOW},v1={guess}") == "invalid_signature"
    assert compared == []
    assert verify(BODY, f"t={NOW},v1={'0' * 64},v1={right},v1={right[::-1]}", SECRET, NOW) == NOW
    assert compared == [(64, 64)] * 3


def test_without_a_secret_nothing_is_accepted() -> None:
    for missing in (None, "", "  "):
        assert refusal(BODY, header(secret=""), missing) == "webhook_not_configured"


def test_an_old_delivery_with_a_valid_signature_is_stale() -> None:
    old = NOW - TOLERANCE - 1
    assert refusal(BODY, header(at=old)) == "stale_timestamp"
    # a forged one learns nothing about our clock
    assert refusal(BODY, f"t={old},v1={'0' * 64}") == "invalid_signature"


def test_a_delivery_from_the_future_is_accepted_as_by_the_sdk() -> None:
    ahead = int(time.time()) + 90 * 86_400
    made = header(at=ahead)
    assert verify(BODY, made, SECRET, int(time.time())) == ahead
    assert stripe.WebhookSignature.verify_header(BODY.decode(), made, SECRET, TOLERANCE)
    assert refusal(BODY, f"t={ahead},v1={'0' * 64}") == "invalid_signature"


def test_the_tolerance_is_inclusive() -> None:
    assert verify(BODY, header(at=NOW - TOLERANCE), SECRET, NOW) == NOW - TOLERANCE
