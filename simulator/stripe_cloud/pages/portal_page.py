"""temporary"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from ..cloud import StripeCloud


class PortalPage:
    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return []
