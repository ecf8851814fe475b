"""Request encoding and validation against the SDK's parameter types."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import params as p
from stripe._encode import _api_encode
from stripe.params.checkout import SessionCreateParams

from simulator.stripe_cloud.api_errors import StripeApiError
from simulator.stripe_cloud.form_encoding import decode, join_name, split_name
from simulator.stripe_cloud.parameters import declared, validate
from simulator.stripe_cloud.routes import ROUTES, find_route

NAMES = st.text(st.characters(categories=("Ll", "Nd"), include_characters="_"), min_size=1, max_size=8)
VALUES = st.recursive(
    st.text(max_size=20),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_the_sdk_encodes_is_decoded_again(params: dict[str, Any]) -> None:
    assert decode(urlencode(list(_api_encode(params)))) == params


@given(st.lists(NAMES, min_size=1, max_size=6))
def test_names_split_and_join(path: list[str]) -> None:
    assert split_name(join_name(path)) == path


@given(st.text(max_size=200))
def test_any_query_is_decoded_or_refused(query: str) -> None:
    assert _status_of(lambda: decode(query)) in {200, 400}


@given(st.text(max_size=300))
def test_any_body_is_validated_or_refused(query: str) -> None:
    assert _status_of(lambda: validate(decode(query), SessionCreateParams)) in {200, 400}


def _status_of(parse: Callable[[], Any]) -> int:
    """200, or the status of the StripeApiError; any other exception is a bug and passes through."""
    try:
        parse()
    except StripeApiError as error:
        return error.status
    return 200


def test_lists_come_by_index_and_by_brackets() -> None:
    assert validate(decode("lookup_keys[0]=a&lookup_keys[1]=b"), p.PriceListParams) == {
        "lookup_keys": ["a", "b"]
    }
    assert validate(decode("lookup_keys[]=a&lookup_keys[]=b"), p.PriceListParams) == {
        "lookup_keys": ["a", "b"]
    }


def test_values_become_python_values() -> None:
    given_params = decode("active=false&unit_amount=499&currency=eur&metadata[n]=1&recurring[interval]=month")
    assert validate(given_params, p.PriceCreateParams) == {
        "active": False,
        "unit_amount": 499,
        "currency": "eur",
        "metadata": {"n": "1"},
        "recurring": {"interval": "month"},
    }
    exact = validate(decode("currency=eur&unit_amount_decimal=0.5"), p.PriceCreateParams)
    assert exact["unit_amount_decimal"] == Decimal("0.5")


@pytest.mark.parametrize(
    ("query", "shape", "param", "code", "message"),
    [
        (
            "colour=red",
            p.CustomerCreateParams,
            "colour",
            "parameter_unknown",
            "Received unknown parameter: colour",
        ),
        (
            "address[planet]=x",
            p.CustomerCreateParams,
            "address[planet]",
            "parameter_unknown",
            "Received unknown parameter: address[planet]",
        ),
        (
            "unit_amount=1",
            p.PriceCreateParams,
            "currency",
            "parameter_missing",
            "Missing required param: currency.",
        ),
        ("limit=many", p.PriceListParams, "limit", "parameter_invalid_integer", "Invalid integer: many"),
        ("active=maybe", p.PriceListParams, "active", None, "Invalid boolean: maybe"),
        (
            "created[gte]=x",
            p.PriceListParams,
            "created[gte]",
            "parameter_invalid_integer",
            "Invalid integer: x",
        ),
        ("type=gift", p.PriceListParams, "type", None, "Invalid type: must be one of one_time, or recurring"),
        ("lookup_keys=a", p.PriceListParams, "lookup_keys", None, "Invalid array"),
        (
            "name=",
            p.ProductCreateParams,
            "name",
            "parameter_invalid_empty",
            "You passed an empty string for 'name'",
        ),
        ("percent_off=half", p.CouponCreateParams, "percent_off", None, "Invalid decimal: half"),
        ("email[a]=x", p.CustomerCreateParams, "email", None, "Invalid string: email"),
        ("recurring=month&currency=eur", p.PriceCreateParams, "recurring", None, "Invalid object: recurring"),
        (
            "payment_method_types[0]=card",  # removed in 2026-09-30.endive
            SessionCreateParams,
            "payment_method_types",
            "parameter_unknown",
            "Received unknown parameter: payment_method_types",
        ),
        (
            "idempotency_key=x",
            p.CustomerCreateParams,
            "idempotency_key",
            "parameter_unknown",
            "Received unknown",
        ),
    ],
)
def test_refusals(query: str, shape: type, param: str, code: str | None, message: str) -> None:
    with pytest.raises(StripeApiError) as caught:
        validate(decode(query), shape)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, code)
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cancel_at=", ""),
        ("cancel_at=12", 12),
        ("cancel_at=min_period_end", "min_period_end"),
    ],
)
def test_unions_take_each_of_their_kinds(query: str, expected: Any) -> None:
    assert validate(decode(query), p.SubscriptionUpdateParams) == {"cancel_at": expected}


def test_every_route_has_readable_parameters_and_no_two_collide() -> None:
    for route in ROUTES:
        assert route.shape is not None
        assert isinstance(declared(route.shape), dict)
        path = route.path.replace("{}", "id_1")
        found = find_route(route.method, path)
        assert found is not None
        assert found[0] is route, f"{route.method} {route.path} is hidden by {found[0].path}"
