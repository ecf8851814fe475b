"""The Stripe keys of this router: read, checked and stored; never shown.

They live in ``secrets.json`` in the daemon's private directory (0700, the file 0600), never in UCI: what LuCI
may ``uci get`` reaches the browser. The environment variables STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET
and STRIPE_PUBLISHABLE_KEY, where set, win over the file.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from stripe_payments.errors import PaymentError
from stripe_payments.files import make_private_directory, set_aside, write_durably
from stripe_payments.i18n import _
from stripe_payments.log import Log, redact

__all__ = ["KeyStore", "Keys", "Mode"]

Mode = Literal["test", "live", "unconfigured"]

_log = Log("keys")

_FIELDS: Final = {
    "secret_key": "STRIPE_SECRET_KEY",
    "webhook_secret": "STRIPE_WEBHOOK_SECRET",
    "publishable_key": "STRIPE_PUBLISHABLE_KEY",
}
# https://docs.stripe.com/keys: secret and restricted keys, publishable keys, signing secrets of endpoints.
_SHAPES: Final = {
    "secret_key": re.compile(r"(?:sk|rk)_(?:test|live)_[A-Za-z0-9_]+"),
    "webhook_secret": re.compile(r"whsec_[A-Za-z0-9_+/=-]+"),
    "publishable_key": re.compile(r"pk_(?:test|live)_[A-Za-z0-9_]+"),
}
_EXPECTED: Final = {
    "secret_key": _("a secret key begins with sk_test_, sk_live_, rk_test_ or rk_live_"),
    "webhook_secret": _("a webhook secret begins with whsec_"),
    "publishable_key": _("a publishable key begins with pk_test_ or pk_live_"),
}
_MIXTURE = _("the secret key and the publishable key must be of the same mode (test or live)")
_FROM_ENVIRONMENT = _("it is set in the service's environment, which overrides the stored value")
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The active keys; an absent one is None."""

    secret_key: str | None = None
    webhook_secret: str | None = None
    publishable_key: str | None = None

    @property
    def mode(self) -> Mode:
        """What the secret key works on: ``test`` or ``live`` data, or ``unconfigured`` without one."""
        return "unconfigured" if self.secret_key is None else _mode(self.secret_key)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={redact(value)}" for name in _FIELDS if (value := getattr(self, name)))
        return f"Keys({shown})"


class KeyStore:
    """The keys on disk and in the environment. `current` is cheap: it reads the file only after a change."""

    def __init__(self, state_dir: Path, environ: Mapping[str, str]) -> None:
        self._path = state_dir / "secrets.json"
        self._environment = self._checked_environment(environ)
        self._seen: tuple[int, int, int] | None = None
        self._stored: dict[str, str] = {}

    @property
    def fixed(self) -> frozenset[str]:
        """The names of the keys that the environment sets: nothing stored counts beside them."""
        return frozenset(self._environment)

    def current(self) -> Keys:
        """The active keys. A file that cannot be read counts as absent, and the log says so."""
        return Keys(**{**self._read(), **self._environment})

    def store(
        self,
        *,
        secret_key: str | None = None,
        webhook_secret: str | None = None,
        publishable_key: str | None = None,
    ) -> Keys:
        """Store the keys that are given (None leaves one as it is, an empty one is removed) and return all in
        force.

        Raises PaymentError ``invalid_argument`` for a key of the wrong shape or a mixture of test and live
        keys, and ``ledger_unavailable`` where the storage fails; then nothing has changed.
        """
        stored, in_force = self._merged(secret_key, webhook_secret, publishable_key)
        try:
            make_private_directory(self._path.parent)
            write_durably(self._path, json.dumps(stored, indent=1).encode() + b"\n")
        except OSError as error:
            _log.error("the keys could not be stored", reason=error.strerror)
            raise PaymentError("ledger_unavailable", reason=error.strerror) from error
        _log.info("keys stored", mode=in_force.mode)
        return in_force

    def preview(
        self,
        *,
        secret_key: str | None = None,
        webhook_secret: str | None = None,
        publishable_key: str | None = None,
    ) -> Keys:
        """What `store` would return; nothing is stored."""
        return self._merged(secret_key, webhook_secret, publishable_key)[1]

    def _merged(
        self, secret_key: str | None, webhook_secret: str | None, publishable_key: str | None
    ) -> tuple[dict[str, str], Keys]:
        """What the file would hold, and what would be in force."""
        given = {
            "secret_key": secret_key,
            "webhook_secret": webhook_secret,
            "publishable_key": publishable_key,
        }
        stored = dict(self._read())
        for name, value in given.items():
            if value is None:
                continue
            value = value.strip()
            if not value:
                stored.pop(name, None)
                continue
            _check(name, value)
            if name in self._environment and self._environment[name] != value:
                raise PaymentError("invalid_argument", argument=name, reason=_FROM_ENVIRONMENT)
            stored[name] = value
        in_force = Keys(**{**stored, **self._environment})
        if (
            in_force.secret_key is not None
            and in_force.publishable_key is not None
            and _mode(in_force.secret_key) != _mode(in_force.publishable_key)
        ):
            culprit = "publishable_key" if publishable_key else "secret_key"
            raise PaymentError("invalid_argument", argument=culprit, reason=_MIXTURE)
        return stored, in_force

    def _read(self) -> dict[str, str]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._stored = None, {}
            return self._stored
        except OSError as error:
            _log.error("the keys cannot be read", reason=error.strerror)
            return {}
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return self._stored
        if found.st_mode & 0o077:
            _log.warning("secrets.json was readable by others; its mode is set to 0600")
            with suppress(OSError):  # on a read-only storage `check` reports the mode
                self._path.chmod(0o600)
        try:
            content = json.loads(self._path.read_bytes())
        except OSError as error:
            _log.error("the keys cannot be read", reason=error.strerror)
            return {}
        except ValueError:
            content = None
        if not isinstance(content, dict):
            self._set_aside()
            self._seen, self._stored = None, {}
            return self._stored
        self._seen = seen
        self._stored = {
            name: value
            for name in _FIELDS
            # an editor ends the line with a newline, which is not part of the key
            if isinstance(held := content.get(name), str) and _fits(name, value := held.strip())
        }
        for name in _FIELDS:
            if content.get(name) and name not in self._stored:
                _log.error("a stored key has the wrong shape and is ignored", key=name)
        return self._stored

    def _set_aside(self) -> None:
        try:
            kept_as = set_aside(self._path).name
        except OSError as error:  # the next change of the keys replaces it
            _log.error("secrets.json is corrupt, and cannot be set aside", reason=error.strerror)
        else:
            _log.error("secrets.json is corrupt: set the keys again", kept_as=kept_as)

    @staticmethod
    def _checked_environment(environ: Mapping[str, str]) -> dict[str, str]:
        keys: dict[str, str] = {}
        for name, variable in _FIELDS.items():
            value = environ.get(variable, "").strip()
            if not value:
                continue
            if _fits(name, value):
                keys[name] = value
            else:
                _log.error("a key of the environment has the wrong shape and is ignored", variable=variable)
        return keys


def _mode(key: str) -> Literal["test", "live"]:
    return "live" if key.split("_", 2)[1] == "live" else "test"


def _fits(name: str, value: str) -> bool:
    return len(value) <= _LONGEST and _SHAPES[name].fullmatch(value) is not None


def _check(name: str, value: str) -> None:
    if not _fits(name, value):
        raise PaymentError("invalid_argument", argument=name, reason=_EXPECTED[name])
