"""The OpenAPI document and the code say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from payments_hub.errors import CODES
from payments_hub.methods import METHODS
from payments_hub.routers import new_secret
from payments_hub.web import create_app
from stripe_payments.bus_api import api
from stripe_payments.errors import CODES as PAYMENT_CODES
from tests.hub.vendor import Vendor

URLS = {"success_url": "http://192.168.1.1/ok", "cancel_url": "http://192.168.1.1/no"}
_TYPES: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def wrong(given: Any, schema: Mapping[str, Any], where: str = "") -> list[str]:
    """What of a value is not as a schema says; members that it does not list are wrong, too."""
    if "type" not in schema:
        return []
    if not isinstance(given, _TYPES[schema["type"]]) or (schema["type"] == "integer" and given is True):
        return [f"{where}: {given!r} is no {schema['type']}"]
    if given not in schema.get("enum", [given]):
        return [f"{where}: {given!r}"]
    if "pattern" in schema and not re.fullmatch(schema["pattern"], given):
        return [f"{where}: {given!r}"]
    members = schema.get("properties")
    if members is None:
        return []
    found = [f"{where}.{name}: missing" for name in schema["required"] if name not in given]
    found += [f"{where}.{name}: not in the document" for name in given if name not in members]
    for name, inner in members.items():
        if name in given:
            found += wrong(given[name], inner, f"{where}.{name}")
    return found


async def test_the_document_has_every_route_and_no_other(vendor: Vendor) -> None:
    paths = (await vendor.http.get("/openapi.json")).json()["paths"]
    documented = {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs}
    served = set()
    for route in create_app(vendor.hub).routes:
        assert isinstance(route, Route)
        verb = "POST" if "POST" in (route.methods or ()) else "GET"
        names = METHODS if "{name}" in route.path else ("",)
        served |= {(verb, route.path.replace("{name}", name)) for name in names}
    assert documented == served


async def test_requests_and_replies_are_as_documented(vendor: Vendor) -> None:
    document = (await vendor.http.get("/openapi.json")).json()
    router, other = await vendor.router(), await vendor.router()
    bodies: dict[str, Any] = {
        "/v1/enrollments": {
            "secret": new_secret(),
            "code": await vendor.hub.routers.new_enrollment_code(),
            "board": "b",
            "version": "1",
        },
        "/v1/statements": {"audience": "https://backup.example.org"},
        "/v1/credentials/rotate": {"secret": new_secret()},
        "/v1/methods/create_checkout_session": {"price_id": "premium_monthly", **URLS},
        "/v1/methods/sync": {"background": True},
        "/v1/methods/transactions": {"limit": 5},
        "/v1/recovery": {"code": (await other.request("POST", "/v1/recovery-codes")).json()["code"]},
    }
    tried = set()
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            if verb == "post" and path not in bodies and path != "/v1/recovery-codes":
                continue
            body = bodies.get(path)
            if body is not None:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                assert wrong(body, schema, path) == []
            caller = await vendor.router() if path == "/v1/recovery" else router
            reply = await caller.request(verb.upper(), path, body)
            status, expected = next(iter(operation["responses"].items()))
            assert reply.status_code == int(status), reply.text
            assert wrong(reply.json(), expected["content"]["application/json"]["schema"], path) == []
            if operation["security"]:
                refused = await vendor.http.request(verb.upper(), path, json=body)
                assert refused.status_code == 401
                assert wrong(refused.json(), document["components"]["schemas"]["Error"]) == []
            tried.add(path)
    assert tried >= {path for path in document["paths"] if "/methods/" not in path} - {"/stripe/webhook"}


async def test_arguments_of_methods_are_those_of_the_bus(vendor: Vendor) -> None:
    document = (await vendor.http.get("/openapi.json")).json()
    router = await vendor.router()
    for name in METHODS:
        operation = document["paths"][f"/v1/methods/{name}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert set(schema["properties"]) == set(api[name].signature)
        if schema["required"]:
            reply = await router.request("POST", f"/v1/methods/{name}", {})
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_argument")
            assert wrong(reply.json(), document["components"]["schemas"]["Error"]) == []


async def test_every_error_is_documented(vendor: Vendor) -> None:
    schemas = (await vendor.http.get("/openapi.json")).json()["components"]["schemas"]
    codes = schemas["Error"]["properties"]["error"]["properties"]["code"]["enum"]
    assert set(codes) == {*CODES, *PAYMENT_CODES}
