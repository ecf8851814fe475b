"""The exported names are a promise; a change here is a change for every program that imports them."""

from __future__ import annotations

import importlib.resources
import inspect

import ubus_py

NAMES = [
    "ARRAY",
    "BOOLEAN",
    "DEFAULT_SOCKET",
    "DOUBLE",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "TABLE",
    "UNSPEC",
    "ArgType",
    "Call",
    "CallTimeout",
    "Client",
    "Connection",
    "ConnectionLost",
    "Encodable",
    "Event",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Method",
    "Object",
    "ObjectInfo",
    "ProtocolError",
    "Receiver",
    "Registration",
    "Status",
    "StatusError",
    "Table",
    "UbusError",
    "UsageError",
    "Value",
    "status_text",
]

VERBS = {
    ubus_py.Client: [
        "call",
        "close",
        "connected",
        "listen",
        "lookup",
        "lookup_strictly",
        "on_connection",
        "publish",
        "replace",
        "send",
        "start",
        "subscribe",
        "unpublish",
        "wait_connected",
        "wait_for",
    ],
    ubus_py.Connection: [
        "call",
        "call_all",
        "client_id",
        "close",
        "closed",
        "invoke",
        "is_closed",
        "listen",
        "lookup",
        "lookup_strictly",
        "notify",
        "notify_and_wait",
        "open",
        "publish",
        "replace",
        "send",
        "subscribe",
        "unpublish",
        "wait_closed",
        "wait_for",
        "withdraw",
    ],
    ubus_py.Call: ["args", "group", "method", "object", "peer", "user"],
}


def test_exported_names() -> None:
    assert sorted(ubus_py.__all__) == sorted(NAMES)
    for name in NAMES:
        assert hasattr(ubus_py, name)


def test_verbs() -> None:
    for kind, verbs in VERBS.items():
        public = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}
        assert public == set(verbs), kind


def test_statuses_are_the_wire_s() -> None:
    assert [(status.value, status.text) for status in ubus_py.Status] == [
        (0, "Success"),
        (1, "Invalid command"),
        (2, "Invalid argument"),
        (3, "Method not found"),
        (4, "Not found"),
        (5, "No response"),
        (6, "Permission denied"),
        (7, "Request timed out"),
        (8, "Operation not supported"),
        (9, "Unknown error"),
        (10, "Connection failed"),
        (11, "Out of memory"),
        (12, "Parsing message data failed"),
        (13, "System error"),
    ]
    assert ubus_py.status_text(77) == "Unknown error: 77"


def test_every_error_has_the_one_base() -> None:
    for error in (ubus_py.UsageError, ubus_py.ProtocolError, ubus_py.StatusError, ubus_py.ConnectionLost):
        assert issubclass(error, ubus_py.UbusError)
    assert issubclass(ubus_py.CallTimeout, ubus_py.UbusError)
    assert issubclass(ubus_py.CallTimeout, TimeoutError)
    assert issubclass(ubus_py.ConnectionLost, ConnectionError)


def test_types_are_published() -> None:
    assert importlib.resources.files(ubus_py).joinpath("py.typed").is_file()
