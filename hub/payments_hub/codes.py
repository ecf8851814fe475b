"""Codes that people type, credentials that routers make, and what is stored of both: digests."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

__all__ = ["code_digest", "digest", "is_code", "is_secret", "new_code"]

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 bytes, base64url without padding."""
_ALPHABET: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Nothing that looks like something else."""
_LENGTH: Final = 20
"""97 bits."""
_LONGEST: Final = 64


def new_code() -> str:
    """Four groups of five letters and digits."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return "-".join(letters[start : start + 5] for start in range(0, _LENGTH, 5))


def is_code(text: object) -> bool:
    """Whether it may be a code as people type it."""
    return isinstance(text, str) and 0 < len(text) <= _LONGEST and text.isprintable()


def is_secret(text: object) -> bool:
    """Whether it has the shape of a credential."""
    return isinstance(text, str) and _SECRET.fullmatch(text) is not None


def code_digest(code: str) -> bytes:
    """Of a code as it is typed: case, blanks and dashes do not count."""
    return digest(re.sub(r"[\s-]", "", code).upper())


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()
