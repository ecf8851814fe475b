"""The HTTP application: the API below /v1, the hosted pages, the control surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from .control import Control
from .pages.checkout_page import CheckoutPage
from .pages.dashboard_page import DashboardPage
from .pages.documents_page import DocumentsPage
from .pages.portal_page import PortalPage

if TYPE_CHECKING:
    from .cloud import StripeCloud

MAX_BODY = 1024 * 1024


def build_app(cloud: StripeCloud) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_routes(Control(cloud).routes())
    for page in (CheckoutPage(cloud), PortalPage(cloud), DocumentsPage(cloud), DashboardPage(cloud)):
        app.router.add_routes(page.routes())
    app.router.add_route("*", "/v1/{rest:.*}", cloud.api.handle)
    return app
