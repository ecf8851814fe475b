"""ubus for asyncio, in pure Python, without dependencies.

    from ubus_py import STRING, Call, Client, Method, Object

    async def greet(call: Call) -> dict[str, str]:
        return {"text": f"ciao {call.args.get('name', 'mondo')}"}

    async with Client() as client:
        await client.publish(Object("greeter", [Method("greet", greet, {"name": STRING})]))
        board = await client.call("system", "board")

The names below are the public ones. :mod:`~ubus_py.blobmsg`, :mod:`~ubus_py.wire` and
:mod:`~ubus_py.session` are the protocol without IO. With asyncio, :mod:`~ubus_py.connection` is one
connection, :mod:`~ubus_py.objects` what it serves, :mod:`~ubus_py.events` what it receives,
:mod:`~ubus_py.client` the client that reconnects.
"""

from .blobmsg import (
    ARRAY,
    BOOLEAN,
    DOUBLE,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    TABLE,
    UNSPEC,
    ArgType,
    Encodable,
    Int8,
    Int16,
    Int32,
    Int64,
    Table,
    Value,
)
from .client import Client, Registration
from .connection import Connection
from .errors import (
    CallTimeout,
    ConnectionLost,
    ProtocolError,
    Status,
    StatusError,
    UbusError,
    UsageError,
    status_text,
)
from .events import Event, ObjectInfo, Receiver
from .objects import Call, Method, Object
from .stream import DEFAULT_SOCKET

__version__ = "0.9.0"

__all__ = [
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
