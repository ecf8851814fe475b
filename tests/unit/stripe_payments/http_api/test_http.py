"""Parsing of untrusted requests, and the form of responses."""

import json

import pytest

from stripe_payments.http_api.http import Request, Response
from ubus_py import StatusError


def request(**fields: object) -> Request:
    return Request.from_bus({"method": "GET", "path": "/", **fields})  # type: ignore[dict-item]


def test_the_body_keeps_every_byte() -> None:
    raw = bytes(range(1, 256)) + "è".encode()
    sent = raw.decode("utf-8", "surrogateescape")
    assert request(body=sent).body == raw


@pytest.mark.parametrize("args", [{}, {"method": "GET"}, {"path": "/"}, {"method": 1, "path": "/"}])
def test_without_method_or_path_the_error_is_on_the_bus(args: dict[str, object]) -> None:
    with pytest.raises(StatusError):
        Request.from_bus(args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("session_id=cs_1&locale=it", {"session_id": "cs_1", "locale": "it"}),
        ("?session_id=cs_1", {"session_id": "cs_1"}),
        ("a=first&a=second", {"a": "first"}),
        ("a=%C3%A8&b=1+2", {"a": "è", "b": "1 2"}),
        ("%zz&&=&a", {"%zz": "", "": "", "a": ""}),
        ("&".join(f"a{n}=1" for n in range(5000)), {}),
        ({"session_id": "cs_1", "n": 3}, {"session_id": "cs_1"}),
        (None, {}),
        (17, {}),
    ],
)
def test_a_malformed_query_is_parsed_as_far_as_possible(query: object, expected: dict[str, str]) -> None:
    assert request(query=query).query == expected


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("c=1", "1"),
        ("a=0; c=1; c=2", "1"),
        ("a=0;c=1", "1"),
        ('c="1"', "1"),
        ("c=a=b", "a=b"),
        ("c", None),
        ("cc=1", None),
        (";;; = ;c", None),
        ("", None),
    ],
)
def test_cookies_are_read_as_browsers_write_them(cookie: str, expected: str | None) -> None:
    assert request(headers={"cookie": cookie}).cookie("c") == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "192.168.1.1"}, "http://192.168.1.1"),
        ({"host": "Router.lan:80"}, "http://router.lan"),
        ({"host": "router.lan:8080"}, "http://router.lan:8080"),
        ({"host": "[fd00::1]:8080"}, "http://[fd00::1]:8080"),
        ({"host": "router.lan", "x-forwarded-proto": "https"}, "https://router.lan"),
        ({"host": "router.lan:443", "x-forwarded-proto": "https"}, "https://router.lan"),
        ({"host": "evil.example/router.lan"}, None),
        ({"host": "user@router.lan"}, None),
        ({"host": "router.lan:99999"}, None),
        ({"host": ""}, None),
        ({}, None),
    ],
)
def test_the_origin_comes_from_a_valid_host(headers: dict[str, str], expected: str | None) -> None:
    assert request(headers=headers).origin == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer", ""), ("", None)],
)
def test_only_a_bearer_credential_counts(header: str, expected: str | None) -> None:
    assert request(headers={"Authorization": header}).bearer == expected


def test_header_values_that_are_not_strings_are_dropped() -> None:
    assert request(headers={"Host": "a.lan", "x": 1, "y": None, "z": ["1"]}).headers == {"host": "a.lan"}
    assert request(headers="host: a.lan").headers == {}


def test_every_response_forbids_caching_and_sniffing() -> None:
    reply = Response.json({"città": 1}, 404, **{"Retry-After": "3"}).as_reply()
    headers = reply["headers"]
    assert isinstance(headers, dict)
    assert (reply["status"], reply["reason"]) == (404, "Not Found")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Retry-After"] == "3"
    assert json.loads(str(reply["body"])) == {"città": 1}
    assert Response.json({}).as_reply(head=True)["body"] == ""
