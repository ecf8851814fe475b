"""Options of UCI sections as numbers, addresses, texts. Pure: an option that is missing or invalid gets its
default, and a `Problem` says why.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from stripe_payments.i18n import Text, Title, _
from stripe_payments.settings.model import Locale, Problem, TaxBehavior

__all__ = ["NAME", "Options", "Sections", "is_hub_address", "whole_number"]

Sections = Mapping[str, Mapping[str, object]]
"""UCI sections by name; options as strings or lists of strings, rpcd's own under ``.type``, ``.name`` …"""

NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
"""The name of a section, and so of everything that is sold and unlocked."""

_DIGITS = re.compile(r"0*([0-9]{1,12})")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_NO_TEXT = re.compile("[\ud800-\udfff]")  # how ubus_py represents other bytes
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):)?([0-9]{1,5})")


class Options:
    """One pass over the sections, which collects the problems. A missing section or option reads as empty."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._problems: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was reported so far, in that order."""
        return tuple(self._problems)

    def __contains__(self, section: str) -> bool:
        """Whether there is a section of that name."""
        return section in self._sections

    def type_of(self, section: str) -> object:
        """``plan`` of ``config plan 'base'``; None where there is no such section."""
        return self._sections.get(section, {}).get(".type")

    def of_type(self, kind: str) -> Iterator[str]:
        """The names of the sections ``config kind 'name'``, in the order of the file."""
        for name, section in self._sections.items():
            if section.get(".type") != kind:
                continue
            if section.get(".anonymous") is True or not NAME.fullmatch(name):
                self.report(
                    name,
                    "",
                    _(
                        "a section “config {kind}” needs a name of letters, digits and underscores; it is "
                        "ignored",
                        kind=kind,
                    ),
                )
                continue
            yield name

    def string(self, section: str, option: str) -> str:
        """An option without leading and trailing blanks."""
        value = self._sections.get(section, {}).get(option)
        if value is None:
            return ""
        if isinstance(value, str):
            return self._readable(section, option, value.strip())
        self.report(section, option, _("it must be one “option”, not a list; it is ignored"))
        return ""

    def _readable(self, section: str, option: str, value: str) -> str:
        """libuci keeps bytes as they are; those that are not UTF-8 cannot be displayed."""
        readable = _NO_TEXT.sub("\ufffd", value)
        if readable != value:
            self.report(section, option, _("it is not UTF-8; save the file as UTF-8"))
        return readable

    def strings(self, section: str, option: str) -> Sequence[str]:
        """The entries of a list; of a single option, its words."""
        value = self._sections.get(section, {}).get(option)
        if isinstance(value, str):  # `option` instead of `list` is a common mistake: treated alike
            return value.split()
        if isinstance(value, list | tuple):
            return [entry.strip() for entry in value if isinstance(entry, str) and entry.strip()]
        return []

    def text(self, section: str, option: str, default: str) -> Title:
        """`option` and `option`_it; without an Italian text the English one is used for both."""
        english = self.string(section, option) or default
        return Title(english, self.string(section, f"{option}_it") or english)

    def flag(self, section: str, option: str, *, default: bool) -> bool:
        """1 or 0, or a word for it."""
        # The words that OpenWrt's own config_get_bool accepts.
        value = self.string(section, option).lower()
        if value in ("1", "on", "true", "yes", "enabled"):
            return True
        if value in ("0", "off", "false", "no", "disabled"):
            return False
        if value:
            self.report(
                section,
                option,
                _("“{value}” is neither 1 nor 0; {default} applies", value=value, default=int(default)),
            )
        return default

    def number(self, section: str, option: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`, else `default`."""
        value = self.string(section, option)
        if not value:
            return default
        number = whole_number(value)
        if number is not None and least <= number <= most:
            return number
        self.report(
            section,
            option,
            _(
                "“{value}” is not an integer between {least} and {most}; {default} applies",
                value=value,
                least=least,
                most=most,
                default=default,
            ),
        )
        return default

    def url(self, section: str, option: str) -> str | None:
        """An absolute http or https address."""
        value = self.string(section, option)
        if not value:
            return None
        if _origin(value) is None:
            self.report(
                section, option, _("“{value}” is not an http or https URL; it is ignored", value=value)
            )
            return None
        return value

    def hub(self, section: str, option: str) -> str | None:
        """The address of a hub, without a slash at its end. One that cannot be used is reported and returned:
        to ignore it would turn the router into one that sells by itself.
        """
        value = self.string(section, option)
        if not value:
            return None
        origin = _origin(value)
        if origin is None or urlsplit(value).path not in ("", "/") or not is_hub_address(origin):
            self.report(
                section,
                option,
                _("“{value}” is not an address such as https://hub.example.org", value=value),
            )
            return value
        return origin

    def origins(self, section: str, option: str) -> tuple[str, ...]:
        """A list of ``scheme://host[:port]``, each once."""
        origins: dict[str, None] = {}
        for value in self.strings(section, option):
            origin = _origin(value)
            if origin is None or urlsplit(value).path not in ("", "/"):
                self.report(
                    section,
                    option,
                    _(
                        "“{value}” is not an origin such as https://router.example.org; it is ignored",
                        value=value,
                    ),
                )
                continue
            origins[origin] = None
        return tuple(origins)

    def addresses(self, section: str, option: str) -> tuple[str, ...]:
        """A list of ``[host:]port``, each once."""
        addresses: dict[str, None] = {}
        for value in self.strings(section, option):
            shape = _LISTEN.fullmatch(value)
            if shape is None or not 0 < int(shape.group(1)) < 65_536:
                self.report(
                    section,
                    option,
                    _(
                        "“{value}” is not an address with a port such as 0.0.0.0:8443; it is ignored",
                        value=value,
                    ),
                )
                continue
            addresses[value] = None
        return tuple(addresses)

    def locale(self, section: str, option: str) -> Locale:
        """A supported language, else ``auto``."""
        value = self.string(section, option).lower()
        if value == "en":
            return "en"
        if value == "it":
            return "it"
        if value not in ("", "auto"):
            self.report(section, option, _("“{value}” is not one of auto, en, it; auto applies", value=value))
        return "auto"

    def tax_behavior(self, section: str, option: str) -> TaxBehavior | None:
        """Whether the prices include tax, None where the Stripe account decides."""
        value = self.string(section, option).lower()
        if value == "inclusive":
            return "inclusive"
        if value == "exclusive":
            return "exclusive"
        if value:
            self.report(
                section,
                option,
                _("“{value}” is neither inclusive nor exclusive; Stripe's default applies", value=value),
            )
        return None

    def report(self, section: str, option: str, problem: Text) -> None:
        """Add a problem; the sentence comes without the place and the full stop."""
        where = f"{section}.{option}" if option else section
        self._problems.append(
            Problem(section, option, Text("{where}: {problem}.", (("where", where), ("problem", problem))))
        )


def is_hub_address(url: str) -> bool:
    """Whether `url` is an https origin, or an http one of this machine, for tests."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")


def whole_number(value: str) -> int | None:
    """The number in `value`, of up to twelve digits after leading zeros; None for anything else."""
    shape = _DIGITS.fullmatch(value)
    return int(shape.group(1)) if shape is not None else None


def _origin(url: str) -> str | None:
    """``scheme://host[:port]`` of an absolute http(s) address, None for anything else."""
    if not url.isprintable() or any(c in url for c in " \\\"'<>"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not _HOST.fullmatch(host):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host.lower()}" + (f":{port}" if port not in (None, default) else "")
