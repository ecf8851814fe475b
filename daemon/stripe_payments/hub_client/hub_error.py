"""An error that the hub answered with, as the callers of this router get it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from stripe_payments.errors import CODES, PaymentError

if TYPE_CHECKING:
    from stripe_payments.hub_client.transport import Answer

__all__ = ["HubRefusalError"]

_CODE: Final = re.compile(r"[a-z_]{1,40}")
_LONGEST: Final = 500
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class HubRefusalError(PaymentError):
    """Sentences and code are the hub's, in the language `locale` that was requested of it; in another one
    they are this router's, where it knows the code.
    """

    def __init__(self, code: str, texts: Mapping[str, str], locale: str, **details: object) -> None:
        super().__init__(code if code in CODES else "stripe_error", **details)
        self.code = code
        self._texts = texts
        self._locale = locale

    @classmethod
    def of(cls, answer: Answer, locale: str) -> HubRefusalError | None:
        """The error in an answer; None where it has none of the hub's shape."""
        error = answer.body.get("error")
        code = error.get("code") if isinstance(error, Mapping) else None
        if not isinstance(error, Mapping) or not isinstance(code, str) or not _CODE.fullmatch(code):
            return None
        texts = {
            name: _UNPRINTABLE.sub(" ", text)[:_LONGEST]
            for name in ("message", "hint", "user_hint")
            if isinstance(text := error.get(name), str)
        }
        return cls(code, texts, locale, retry_after=answer.retry_after)

    def message_in(self, locale: str | None) -> str:
        return self._text("message", locale) or super().message_in(locale)

    def hint_in(self, locale: str | None) -> str | None:
        return self._text("hint", locale) or super().hint_in(locale)

    def user_hint_in(self, locale: str | None) -> str:
        return self._text("user_hint", locale) or super().user_hint_in(locale)

    def _text(self, name: str, locale: str | None) -> str | None:
        if self.__dict__.get("_texts") is None:  # PaymentError's constructor shows the message
            return None
        return self._texts.get(name) if locale == self._locale or self.code not in CODES else None
