"""What this router proves itself with at the hub: a secret of 256 bits that it makes itself.

``hub.json``: ``{"hubs": {URL: {"secret": …, "router_id": …, "next": …, "rotating": …, "since": …}}}``.
`secret`: 43 characters of base64url; `router_id`: null until the router has enrolled; `next`: the secret
under which a router that is refused enrols again, `rotating`: the one that is to follow `secret`, both null
without one; `since`: trusted epoch seconds since when `secret` is used, null where that is not known.

A secret is durable before it is sent, so that the call can be repeated after a power cut: the hub knows the
router again by it. One for each hub: a secret is never sent to another one. Losing the file means losing the
purchases (a recovery code can move them), so it is listed in keep.d.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.errors import PaymentError
from stripe_payments.files import make_private_directory, set_aside, write_durably
from stripe_payments.log import Log

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Credential", "CredentialStore"]

_log = Log("hub")

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_ROUTER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Credential:
    """`router_id`: the hub's name of this router; None until it has enrolled. The others: see above."""

    secret: str
    router_id: str | None = None
    next: str | None = None
    rotating: str | None = None
    since: int | None = None


class CredentialStore:
    """Every method raises PaymentError ``ledger_unavailable`` where the storage fails: a secret that is not
    durable is never used.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "hub.json"

    def load(self, url: str) -> Credential:
        """The credential for a hub; made and stored if there is none."""
        found = self._hubs().get(url)
        return found or self._store(url, Credential(secrets.token_urlsafe(32)))

    def with_next(self, url: str, credential: Credential) -> Credential:
        """The credential with a `next` secret, made and stored if there is none."""
        if credential.next is not None:
            return credential
        return self._store(url, replace(credential, next=secrets.token_urlsafe(32)))

    def with_rotating(self, url: str, credential: Credential) -> Credential:
        """The credential with a `rotating` secret, made and stored if there is none."""
        if credential.rotating is not None:
            return credential
        return self._store(url, replace(credential, rotating=secrets.token_urlsafe(32)))

    def keep(self, url: str, credential: Credential) -> None:
        """Store it as it is."""
        self._store(url, credential)

    def enrolled(self, url: str, secret: str, router_id: object) -> Credential:
        """Store under which secret this router has enrolled, and what the hub calls it. Raises ValueError for
        something that is no id.
        """
        if not isinstance(router_id, str) or not _ROUTER_ID.fullmatch(router_id):
            raise ValueError("not a router's id")
        return self._store(url, Credential(secret, router_id))

    def _store(self, url: str, credential: Credential) -> Credential:
        hubs = {**self._hubs(), url: credential}
        content = {name: asdict(held) for name, held in hubs.items()}
        try:
            make_private_directory(self._path.parent)
            write_durably(self._path, json.dumps({"hubs": content}, indent=1).encode() + b"\n")
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        return credential

    def _hubs(self) -> dict[str, Credential]:
        try:
            content: Any = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            content = None
        except OSError as error:
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        if not isinstance(content, dict) or not isinstance(content.get("hubs"), dict):
            _log.error("hub.json is corrupt", kept_as=set_aside(self._path).name)
            return {}
        found = {}
        for url, held in content["hubs"].items():
            fields = held if isinstance(held, dict) else {}
            secret = _fitting(fields.get("secret"), _SECRET)
            if secret is not None:
                since = fields.get("since")
                found[url] = Credential(
                    secret,
                    _fitting(fields.get("router_id"), _ROUTER_ID),
                    _fitting(fields.get("next"), _SECRET),
                    _fitting(fields.get("rotating"), _SECRET),
                    since if isinstance(since, int) else None,
                )
        return found


def _fitting(value: object, shape: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and shape.fullmatch(value) else None
