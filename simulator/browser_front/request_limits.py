"""What uhttpd refuses of a request's head before any handler sees it."""

from typing import Final

from aiohttp import web

HEAD_BYTES: Final = 16 * 1024
"""All headers together: 16 of 1 KB are served, 17 are not."""

LINE_BYTES: Final = 4096 - 8
"""One line; uhttpd reads it in a buffer of 4 KiB."""


def too_large(request: web.Request) -> web.Response | None:
    """uhttpd's refusal of long headers, None where it serves them."""
    lines = [len(name) + len(value) + 4 for name, value in request.raw_headers]
    if any(length > LINE_BYTES for length in lines):
        return _refusal(413, "Request Entity Too Large")
    if sum(lines) > HEAD_BYTES:
        return _refusal(431, "Request Header Fields Too Large")
    return None


def _refusal(status: int, reason: str) -> web.Response:
    return web.Response(status=status, reason=reason, content_type="text/html", text=f"<h1>{reason}</h1>")
