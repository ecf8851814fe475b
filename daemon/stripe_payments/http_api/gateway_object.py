"""The object `stripe-payments.http`, which is on the bus before the face behind it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stripe_payments.arguments import CheckedMethod
from ubus_py import STRING, TABLE, Call, Encodable, Object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stripe_payments.http_api.app import HttpApp

OBJECT: Final = "stripe-payments.http"
_REQUEST: Final = {"method": STRING, "path": STRING, "query": STRING, "headers": TABLE, "body": STRING}


def gateway_object(face: Callable[[], HttpApp]) -> Object:
    """What to publish. Text comes raw: a webhook is verified over the very bytes that came."""

    async def request(call: Call) -> Mapping[str, Encodable]:
        return await face().request(call)

    return Object(OBJECT, [CheckedMethod("request", request, _REQUEST)], raw_text=True)
