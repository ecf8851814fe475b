"""The simulated router's HTTP server, in uhttpd's place: LuCI's pages, ``/ubus``, the payment gateway."""

from simulator.browser_front.server import BrowserFront

__all__ = ["BrowserFront"]
