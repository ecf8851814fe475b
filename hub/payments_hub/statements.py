"""Signed statements of what a router has paid for, which the vendor's other services verify by themselves.

JWTs (RFC 7519) signed with ES256 by the newest of two keys; the JWKS (RFC 7517) shows both, so that a
rotation breaks no verification. A statement is for one audience and ends after ten minutes.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from stripe_payments.entitlements import Entitlement
from stripe_payments.files import write_durably

__all__ = ["AUDIENCE", "LIFETIME_S", "Signer", "rotate_keys"]

ALGORITHM: Final = "ES256"
LIFETIME_S: Final = 600
AUDIENCE: Final = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
_KEYS_SHOWN: Final = 2


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: ec.EllipticCurvePrivateKey

    def public(self) -> dict[str, Any]:
        numbers: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**numbers, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}


class Signer:
    """Signs with the first key of the file; `issuer` is the hub's address."""

    def __init__(self, keys: list[_Key], issuer: str, created: int) -> None:
        if not keys:
            raise ValueError("no signing key")
        self._keys = keys
        self._issuer = issuer
        self.created = created
        """When the key that signs was made, epoch seconds."""

    @classmethod
    def load(cls, path: Path, issuer: str) -> Signer:
        """Raises OSError, ValueError for a file that `rotate_keys` did not write."""
        entries = json.loads(path.read_bytes())["keys"]
        keys = [_read(entry) for entry in entries]
        # a file of the version before does not say when
        created = entries[0].get("created", path.stat().st_mtime) if entries else 0
        return cls(keys, issuer, int(created))

    def statement(
        self, router: str, audience: str, entitlements: Mapping[str, Entitlement], *, now: int | None = None
    ) -> str:
        """A JWT with `sub` (the router), `features` (the names of those that are unlocked), `plan` (of the
        one that ends last, empty without) and `exp`, epoch seconds.
        """
        issued = int(time.time()) if now is None else now
        unlocked = {name: held for name, held in entitlements.items() if held.unlocked}
        ends = [held.until for held in unlocked.values() if held.until is not None and held.until > issued]
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": router,
            "iat": issued,
            "exp": min([issued + LIFETIME_S, *ends]),
            "jti": uuid.uuid4().hex,
            "features": sorted(unlocked),
            "plan": next((held.plan for held in unlocked.values() if held.source.startswith("sub_")), ""),
        }
        key = self._keys[0]
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid})

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        return {"keys": [key.public() for key in self._keys[:_KEYS_SHOWN]]}


def rotate_keys(path: Path) -> str:
    """Put a new key in front of the file's and keep the one before; its id. Creates the file (0600)."""
    held = json.loads(path.read_bytes())["keys"] if path.exists() else []
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kid = uuid.uuid4().hex[:16]
    entry = {"kid": kid, "pem": pem.decode(), "created": int(time.time())}
    write_durably(path, json.dumps({"keys": [entry, *held[: _KEYS_SHOWN - 1]]}, indent=1).encode() + b"\n")
    os.chmod(path, 0o600)
    return kid


def _read(entry: Mapping[str, Any]) -> _Key:
    private = serialization.load_pem_private_key(entry["pem"].encode(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return _Key(entry["kid"], private)
