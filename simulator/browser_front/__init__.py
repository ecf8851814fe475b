"""The HTTP server of the simulated router, in uhttpd's place: LuCI's pages, ``/ubus``, and the payment gateway."""

from simulator.browser_front.server import BrowserFront

__all__ = ["BrowserFront"]
