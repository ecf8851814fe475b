from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.errors import PaymentError
from stripe_payments.return_urls import origin_of, resolve, with_session_id

LAN = "http://192.168.1.1"


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("/thanks", f"{LAN}/thanks"),
        ("thanks?x=1#top", f"{LAN}/thanks?x=1#top"),
        (f"{LAN}:80/thanks", f"{LAN}:80/thanks"),
        ("HTTP://192.168.1.1/è", f"{LAN}/%C3%A8"),
        (LAN, f"{LAN}/"),
        ("?session_id={CHECKOUT_SESSION_ID}", f"{LAN}/?session_id={{CHECKOUT_SESSION_ID}}"),
        ("/a%20b%2Fc", f"{LAN}/a%20b%2Fc"),
    ],
)
def test_urls_of_the_router(url: str, resolved: str) -> None:
    assert resolve(url, base=LAN, allowed_origins=[LAN]) == resolved


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://192.168.1.1:8080/",
        "https://192.168.1.1/",
        "http://192.168.1.1.evil.example/",
    ],
)
def test_other_origins_are_foreign(url: str) -> None:
    with pytest.raises(PaymentError) as raised:
        resolve(url, base=LAN, allowed_origins=[LAN])
    assert raised.value.code == "foreign_return_url"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "http:///x",
        "http://",
        "http://user:secret@192.168.1.1/",
        "http://192.168.1.1@evil.example/",
        "http://192.168.1.1\\@evil.example/",
        "/\\evil.example",
        "http://192.168.1.1/\r\nX: y",
        "http://192.168.1.1/a b",
        "http://[::1/",
        "http://192.168.1.1:99999/",
        "http://192.168.1.1:/",
        "/" + "a" * 3000,
    ],
)
@pytest.mark.parametrize("allowed", [[LAN], None])
def test_invalid_urls_are_refused_to_every_caller(url: str, allowed: list[str] | None) -> None:
    with pytest.raises(PaymentError) as raised:
        resolve(url, base=LAN, allowed_origins=allowed, argument="cancel_url")
    assert raised.value.code == "invalid_argument"
    assert raised.value.details["argument"] == "cancel_url"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://192.168.1.1/"]
)
@pytest.mark.parametrize(("allowed", "code"), [([LAN], "foreign_return_url"), (None, "invalid_argument")])
def test_other_schemes_are_refused_to_every_caller(url: str, allowed: list[str] | None, code: str) -> None:
    with pytest.raises(PaymentError) as raised:
        resolve(url, base=LAN, allowed_origins=allowed)
    assert raised.value.code == code


def test_the_authorised_caller_may_pass_any_http_url() -> None:
    assert resolve("https://shop.example/x", base=LAN, allowed_origins=None) == "https://shop.example/x"


@given(st.text(max_size=60))
def test_no_open_redirect(url: str) -> None:
    try:
        resolved = resolve(url, base=LAN, allowed_origins=[LAN])
    except PaymentError:
        return
    assert origin_of(resolved) == LAN
    assert resolved.isascii()


def test_the_session_id_is_added_once() -> None:
    added = with_session_id("https://a.example/x?y=1#z")
    assert added == "https://a.example/x?y=1&session_id={CHECKOUT_SESSION_ID}#z"
    assert with_session_id(added) == added
    assert with_session_id("https://a.example/") == "https://a.example/?session_id={CHECKOUT_SESSION_ID}"


@pytest.mark.parametrize(
    "url",
    [
        "http://[fd00::1]evil.example/",
        "http://evil.example[fd00::1]/",
        "http://[fd00::1]%2f/",
        "http://[fd00::1]tp://[fd00::",
        "http://[fd00::1]-:80/",
    ],
)
def test_text_after_the_brackets_is_refused(url: str) -> None:
    """urllib takes the host from the brackets and ignores the rest."""
    assert origin_of(url) is None
    with pytest.raises(PaymentError):
        resolve(url, base=LAN, allowed_origins=["http://[fd00::1]"])
    assert resolve("http://[fd00::1]:80/x", base=LAN, allowed_origins=["http://[fd00::1]"])
