"""What the operator configures: environment variables, each also as `NAME_FILE` with a file's path (a secret
mounted by systemd or a container).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from stripe_payments.stripe_api import api_base_problem

__all__ = ["Config", "ConfigError"]

_POLL_AFTER_S: Final = 900
_WALK_HOUR: Final = 1
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


class ConfigError(Exception):
    """A setting is missing or wrong; the text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class Config:
    """`hub_url`: as routers reach it, without a trailing slash; `poll_after`: seconds between two polls of a
    router; `open_enrollment`: whether a router enrols without a code; `stripe_limit`: requests a second to
    Stripe, of all instances together, None for the default of the key's mode; `walk_hour`: of the day (UTC),
    at which the nightly walk begins; `api_base`: for tests, in place of https://api.stripe.com.
    """

    database_url: str = field(repr=False)
    hub_url: str
    stripe_secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    signing_key_file: Path
    open_enrollment: bool = False
    poll_after: int = _POLL_AFTER_S
    stripe_limit: int | None = None
    walk_hour: int = _WALK_HOUR
    api_base: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Config:
        """Raises ConfigError."""

        def text(name: str, default: str | None = None) -> str:
            if environ.get(f"{name}_FILE"):
                try:
                    return Path(environ[f"{name}_FILE"]).read_text("utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise ConfigError(f"{name}_FILE cannot be read: {error}") from error
            value = environ.get(name, "").strip() or default
            if value is None:
                raise ConfigError(f"{name} is not set")
            return value

        hub_url = text("HUB_URL").rstrip("/")
        if urlsplit(hub_url).scheme not in ("https", "http") or not urlsplit(hub_url).hostname:
            raise ConfigError("HUB_URL is not an http(s) address")
        poll_after = text("HUB_POLL_AFTER", str(_POLL_AFTER_S))
        if not poll_after.isdigit() or not 5 <= int(poll_after) <= 86_400:
            raise ConfigError("HUB_POLL_AFTER must be between 5 and 86400 seconds")
        limit = text("HUB_STRIPE_LIMIT", "")
        if limit and not (limit.isascii() and limit.isdigit() and 4 <= int(limit) <= 10_000):
            raise ConfigError("HUB_STRIPE_LIMIT must be between 4 and 10000 requests a second")
        walk_hour = text("HUB_WALK_HOUR", str(_WALK_HOUR))
        if not (walk_hour.isascii() and walk_hour.isdigit() and int(walk_hour) < 24):
            raise ConfigError("HUB_WALK_HOUR must be between 0 and 23")
        api_base = environ.get("STRIPE_API_BASE") or None
        if api_base is not None and (problem := api_base_problem(api_base)) is not None:
            raise ConfigError(f"STRIPE_API_BASE: {problem}")
        return cls(
            database_url=text("DATABASE_URL"),
            hub_url=hub_url,
            stripe_secret_key=text("STRIPE_SECRET_KEY"),
            webhook_secret=text("STRIPE_WEBHOOK_SECRET", ""),
            signing_key_file=Path(environ.get("HUB_SIGNING_KEY_FILE") or "signing-keys.json"),
            open_enrollment=text("HUB_OPEN_ENROLLMENT", "0").lower() in _TRUE,
            poll_after=int(poll_after),
            stripe_limit=int(limit) if limit else None,
            walk_hour=int(walk_hour),
            api_base=api_base,
        )
