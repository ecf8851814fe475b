"""Jinja2, imported with the first page: it needs several megabytes, and most routers never show a page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stripe_payments.http_api.http import Response
from stripe_payments.http_api.page_texts import texts_in

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).with_name("templates")


class Templates:
    """Renders a template as a page that loads nothing, runs only its own script and cannot be framed."""

    def __init__(self) -> None:
        self._environment: jinja2.Environment | None = None

    async def render(
        self, template: str, locale: str, content: Mapping[str, object], *, status: int = 200
    ) -> Response:
        if self._environment is None:
            # in a thread: the import is slow, and other calls go on meanwhile
            self._environment = await asyncio.to_thread(_environment)
        nonce = secrets.token_urlsafe(16)
        body = self._environment.get_template(template).render(
            locale=locale, t=texts_in(locale), nonce=nonce, **content
        )
        return Response(
            status,
            body,
            {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Language": locale,
                "Vary": "Accept-Language",
                "Content-Security-Policy": (
                    f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
                    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                ),
                "X-Frame-Options": "DENY",
            },
        )


def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
