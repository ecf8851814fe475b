"""A Stripe account as its operator sees it, over the simulator's HTTP API. The router sets it up by
itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

SECRET_KEY = "sk_test_router_os_demo_4eC39HqLyjWDarjtT1zdp7dc"


@dataclass(frozen=True)
class StripeAccount:
    """Asks with the account's secret key."""

    url: str
    secret_key: str = SECRET_KEY

    async def request(self, method: str, path: str, **parameters: Any) -> dict[str, Any]:
        """One API request with bracket-encoded parameters; raises RuntimeError on a 4xx or 5xx."""
        form = dict(_flatten(parameters))
        reading = method == "GET"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.secret_key}"}) as session,
            session.request(
                method,
                f"{self.url}/v1/{path}",
                params=form if reading else None,
                data=None if reading else form,
            ) as response,
        ):
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer


def _flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair
            for key, inner in value.items()
            for pair in _flatten(inner, f"{name}[{key}]" if name else str(key))
        ]
    if isinstance(value, list | tuple):
        return [pair for index, inner in enumerate(value) for pair in _flatten(inner, f"{name}[{index}]")]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    return [(name, str(value))]
