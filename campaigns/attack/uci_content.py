"""The two configurations with anything in them: an administrator's slip, another program's, an attacker's."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Self

from campaigns.attack.byte_mutations import mutated
from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target
from campaigns.attack.gateway_requests import fault_of
from campaigns.attack.hostile_texts import FORMULAS, LINE_BREAKS, MARKUP
from stripe_payments.entitlements import Entitlement
from stripe_payments.errors import CODES
from stripe_payments.settings import Settings, settings_from_uci
from stripe_payments.settings.loader import sections_of
from stripe_payments.unlocks.router_bus import as_option_values, differing, from_sections, storable
from tests.unit.stripe_payments.harness import Shop, open_shop
from ubus_py import StatusError

__all__ = ["UciFeatures", "UciSettings", "unsound"]

_VALUES = (
    *MARKUP,
    *LINE_BREAKS,
    *FORMULAS,
    "https://evil.example\\@192.168.1.1",
    "javascript:alert(1)",
    "http://[::1",
    "../../../etc/passwd",
    "$(reboot)",
    "`reboot`",
    "x" * 70_000,
)
_NUMBERS = ("-1", "0", "1", "60", "86401", "100000000", "9" * 400, "٣", "1e3", "0x10")
_TOKENS = (
    b"\nconfig payments 'main'\n",
    b"\nconfig price 'p'\n\toption of 'premium'\n\toption amount '1'\n",
    b"\nconfig plan 'premium'\n",
    b"\nconfig feature\n",
    b"\n\tlist feature 'x'\n",
    b"\n\toption title ",
    b"\npackage 'other'\n",
    b"config",
    b"option",
    b"'",
    b'"',
    b"\\",
    b";",
    b"#",
    b"\xff\xfe",
)


def _with_value(chance: Random, content: bytes) -> bytes:
    """One option's value is another text, quoted as libuci quotes it."""
    lines = content.split(b"\n")
    places = [number for number, line in enumerate(lines) if line.strip().startswith((b"option", b"list"))]
    if not places:
        return mutated(chance, content, _TOKENS)
    names = {number: b" ".join(lines[number].split()[:2]) for number in places}
    head = chance.choice(sorted(set(names.values())))
    number = chance.choice([number for number in places if names[number] == head])
    value = chance.choice(_NUMBERS if chance.random() < 0.3 else _VALUES).encode("utf-8", "surrogatepass")
    lines[number] = b"\t" + head + b" '" + value.replace(b"'", b"'\\''") + b"'"
    return b"\n".join(lines)


class _Uci(Target):
    """A shop whose configuration is written over."""

    config: str

    async def __aenter__(self) -> Self:
        self._complaints = self.stack.enter_context(listening())
        self._shop: Shop = await self.stack.enter_async_context(open_shop(self.folder))
        self._file = self._shop.harness.root / "etc/config" / self.config
        return self

    def mutate(self, chance: Random, given: bytes) -> bytes:
        return _with_value(chance, given) if chance.random() < 0.6 else mutated(chance, given, _TOKENS)

    async def _load(self, given: bytes) -> Any:
        """What the helper hands out for such a file; without `settings` where those are malformed."""
        self._file.write_bytes(given.replace(b"\0", b""))  # to libuci a line ends there
        return await self._shop.harness.bus.call("stripe-payments.uci", "load", {})


class UciSettings(_Uci):
    """`/etc/config/stripe-payments`: whatever it holds, the daemon runs, sells nothing it should not, says
    what is wrong, and everything that shows its texts still can.
    """

    name = "uci-settings"
    config = "stripe-payments"

    async def attempt(self, given: bytes) -> str | None:
        loaded = await self._load(given)
        harness = self._shop.harness
        parts = await harness.parts()
        assert harness.service is not None
        before = parts.settings()
        harness.service.reload()
        if "settings" in loaded:
            settings = settings_from_uci(sections_of(loaded["settings"]))
            for _ in range(2000):
                if parts.settings() == settings:
                    break
                await asyncio.sleep(0.001)
            else:
                return "the daemon did not take the settings over"
            if (problem := unsound(settings)) is not None:
                return problem
        elif not before.problems and parts.settings().prices != before.prices:
            return "a malformed file changed what is sold"
        return await self._shown() or self._complaints.taken()

    async def _shown(self) -> str | None:
        """Everything that shows the configuration's texts, asked for."""
        harness = self._shop.harness
        catalog: Any = None
        for locale in ("en", "it"):
            catalog = await harness.call("catalog", locale=locale)
        await harness.call("features")
        prices = [price["id"] for sold in catalog["plans"] + catalog["products"] for price in sold["prices"]]
        for method, args in (
            *(("create_checkout_session", {"price_id": alias}) for alias in prices[:2]),
            ("provision", {"dry_run": True}),
            ("transactions", {}),
        ):
            try:
                answer = await harness.call(method, **args)
            except StatusError as refused:
                code = (refused.data or {}).get("error", {}).get("code")
                if code not in CODES or code == "internal_error":
                    return f"{method} is answered {refused.status.name} {refused.data}"
                continue
            if method == "create_checkout_session":
                query = f"session_id={answer['session_id']}"
                page = await harness.http("GET", "/payment-success", query=query)
                if (fault := fault_of(page.as_received())) is not None:
                    return fault
        return None


def unsound(settings: Settings) -> str | None:
    """Whether something got through that others rely on not to."""
    for price in settings.prices.values():
        if settings.sellable(price.of) is None:
            return f"{price.alias} is a price of nothing"
        if not 0 <= price.amount <= 99_999_999 or not price.currency.isascii():
            return f"{price.alias} costs {price.amount} {price.currency}"
    for sold in (*settings.plans.values(), *settings.products.values()):
        if wrong := [name for name in sold.features if not storable(name)]:
            return f"{sold.name} unlocks {wrong}, which no file can hold"
    for address in (settings.public_url, settings.phone_return_url, *settings.allowed_origins):
        if address is not None and not address.startswith(("http://", "https://")):
            return f"{address!r} counts as an address"
    if not (60 <= settings.poll_interval <= 86_400 and 0 <= settings.grace_days <= 365):
        return f"poll_interval {settings.poll_interval}, grace_days {settings.grace_days}"
    return None


class UciFeatures(_Uci):
    """`/etc/config/stripe-features`: whatever it holds, what the ledger knows can be written into it."""

    name = "uci-features"
    config = "stripe-features"

    async def attempt(self, given: bytes) -> str | None:
        loaded = await self._load(given)
        sections = loaded["features"]
        taken = {name for name, section in sections.items() if section[".type"] != "feature"}
        names = {*from_sections(sections), "remote_backup_daily", "x_1"} - taken
        wanted = [
            Entitlement(name, True, "cs_test_a1\n$(reboot)", "plan'\\", 1_900_000_000, "paid")
            for name in sorted(names)
        ]
        features = {one.feature: as_option_values(one) for one in wanted}
        for _ in range(
            2
        ):  # the daemon, which writes what its ledger knows every ten seconds, may come between
            await self._shop.harness.bus.call("stripe-payments.uci", "store", {"features": features})
            again: Any = await self._shop.harness.bus.call("stripe-payments.uci", "load", {})
            if not (wrong := differing(wanted, again["features"])):
                break
        if wrong:
            return f"written, but not there afterwards: {[one.feature for one in wrong]}"
        if b"$(reboot)" in self._file.read_bytes() and b"$(reboot)" not in given:
            return "a shell's words got into the file"
        return self._complaints.taken()
