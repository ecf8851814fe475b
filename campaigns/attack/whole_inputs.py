"""What is wrong about one input, for every target that needs no daemon around it: no IO, no event loop."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from campaigns.attack.bus_bytes import Blobmsg, BusFrames
from campaigns.attack.log_lines import ForgedLogError, entry
from campaigns.attack.return_addresses import ReturnAddresses
from campaigns.attack.uci_content import unsound
from simulator.router.uci_file import UciError, parse
from stripe_payments import log as journal
from stripe_payments.errors import PaymentError
from stripe_payments.http_api.auth import credential
from stripe_payments.http_api.http import Request
from stripe_payments.http_api.pages import page_language
from stripe_payments.settings import Settings, settings_from_uci
from stripe_payments.stripe_api import sign, verify
from stripe_payments.stripe_api.validation import Expected, MalformedResponseError, read_response
from stripe_payments.stripe_api.webhook_delivery import hint_in, read_event
from stripe_payments.sync.fetch import stored_form, units_of
from stripe_payments.sync.projection import project
from stripe_payments.sync.stripe_objects import parse_objects
from tools.ubus.json_text import parse_json
from ubus_py import StatusError, UsageError
from ubus_py.blobmsg import encode_table

__all__ = ["CHECKERS"]

SECRET = "whsec_thisRoutersOwnSecret"
NOW = 1_700_000_000


def _json_text(given: bytes) -> str | None:
    try:
        value = parse_json(given.decode("utf-8", "surrogateescape"))
    except UsageError:
        return None
    encode_table({"value": value})
    return None


def _signature(given: bytes) -> str | None:
    """No header but a right one is accepted."""
    header, _, body = given.partition(b"\n")
    text = header.decode("utf-8", "surrogateescape")
    try:
        at = verify(body, text, SECRET, NOW)
    except PaymentError as error:
        return None if error.code in ("invalid_signature", "stale_timestamp") else f"refused as {error.code}"
    return None if sign(body, SECRET, at) in text else f"{text!r} was accepted"


def _webhook(given: bytes) -> str | None:
    try:
        event = read_event(given)
    except PaymentError as error:
        return None if error.code == "invalid_json" else f"refused as {error.code}"
    hint = hint_in(event)
    if hint is not None and not (
        hint.event_id.isascii() and hint.object_id.isascii() and len(hint.type) < 256
    ):
        return f"kept: {hint}"
    return None


def _object(given: bytes) -> str | None:
    """Whatever passes for an object of Stripe's can be taken apart and understood."""
    try:
        root = read_response(given.decode("utf-8", "replace"), Expected())
    except MalformedResponseError:
        return None
    if not isinstance(root.get("id"), str) or not isinstance(root.get("object"), str):
        return None
    objects = {raw["id"]: raw for raw in stored_form(units_of(root, 0.0))}
    rows = project(parse_objects(objects), Settings(), None, last_seen={}, previous={}).history
    encode_table({"rows": [str(row) for row in rows]})
    return None


def _request(given: bytes) -> str | None:
    """Four lines (method, path, query, body), then headers: read, or refused by name."""
    lines = given.decode("utf-8", "surrogateescape").split("\n")
    method, path, query, body, *rest = [*lines, "", "", "", ""]
    headers = dict(line.split(":", 1) for line in rest if ":" in line)
    arguments: dict[str, Any] = {
        "method": method,
        "path": path,
        "query": query,
        "headers": headers,
        "body": body,
    }
    try:
        request = Request.from_bus(arguments)
        page_language(request, "auto", None)
        _ = (request.origin, request.remote, request.secure)
        credential(request)
    except (PaymentError, StatusError):
        return None
    return None if request.bearer or request.cookie("stripe_payments_session") else "a login out of nothing"


def _settings(given: bytes) -> str | None:
    try:
        package = parse("stripe-payments", given.decode("utf-8", "surrogateescape"))
    except (UciError, RecursionError):
        return None
    sections: dict[str, Mapping[str, object]] = {
        section.name: {".type": section.type, ".anonymous": section.anonymous, **section.options}
        for section in package.sections
    }
    return unsound(settings_from_uci(sections))


def _log(given: bytes) -> str | None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(journal._Logfmt())
    record = logging.makeLogRecord({"name": "stripe_payments.x", "levelname": "INFO", "msg": "said"})
    record.journal_fields = {"text": given.decode("utf-8", "surrogateescape"), "end": "x"}
    handler.handle(record)
    try:
        fields = entry(stream.getvalue().encode()[:-1])
    except (ForgedLogError, UnicodeEncodeError) as error:
        return str(error)
    return None if list(fields) == ["level", "part", "msg", "text", "end"] else f"{json.dumps(fields)}"


CHECKERS: Final[dict[str, Callable[[bytes], str | None]]] = {
    "blobmsg": Blobmsg.check,
    "bus-frames": BusFrames.check,
    "json-text": _json_text,
    "return-addresses": ReturnAddresses.check,
    "signatures": _signature,
    "webhook-bodies": _webhook,
    "stripe-objects": _object,
    "http-requests": _request,
    "uci-settings": _settings,
    "log-entries": _log,
}
