"""Entitlements as UCI options: back and forth, and harmless in a root shell."""

import string

from hypothesis import given
from hypothesis import strategies as st

from stripe_payments.entitlements import Entitlement
from stripe_payments.unlocks.router_bus import as_option_values, differing, from_sections, storable
from ubus_py import Value

_safe = st.text(string.ascii_letters + string.digits + "_.:-", max_size=30)
_entitlements = st.builds(
    Entitlement,
    feature=st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
    unlocked=st.booleans(),
    source=_safe,
    plan=_safe,
    until=st.none() | st.integers(0, 4 * 10**9),
    reason=_safe.filter(bool),
)


def as_section(entitlement: Entitlement) -> dict[str, Value]:
    """What rpcd shows of what was stored: no empty options, flags as 0 and 1."""
    options = as_option_values(entitlement)
    section: dict[str, Value] = {option: value for option, value in options.items() if value != ""}
    return section | {".type": "feature", "unlocked": "1" if options["unlocked"] else "0"}


@given(_entitlements)
def test_what_is_stored_is_read_back(entitlement: Entitlement) -> None:
    sections: dict[str, Value] = {entitlement.feature: as_section(entitlement)}
    assert from_sections(sections) == {entitlement.feature: entitlement}
    assert differing([entitlement], sections) == []
    other = Entitlement(entitlement.feature, not entitlement.unlocked, entitlement.source)
    assert differing([other], sections) == [other]
    assert differing([entitlement], {}) == [entitlement]


@given(st.text(), st.text(), st.text())
def test_no_value_is_special_to_a_shell(source: str, plan: str, reason: str) -> None:
    values = as_option_values(Entitlement("f", True, source, plan, None, reason))
    for option in ("source", "plan", "until", "reason"):
        value = values[option]
        assert isinstance(value, str)
        assert len(value) <= 128
        assert set(value) <= set(string.ascii_letters + string.digits + "_.:@+-")


def test_names_that_uci_cannot_hold() -> None:
    assert storable("remote_backup_daily")
    for name in ("", "a b", "a-b", "é", "a" * 65, "a\n", "../x"):
        assert not storable(name), name


def test_sections_of_another_type_are_ignored() -> None:
    sections: dict[str, Value] = {
        "a": {".type": "other", "unlocked": "1"},
        "b": "no section",
        "c": {".type": "feature", "unlocked": "yes", "until": "tomorrow", "source": ["x"]},
    }
    assert from_sections(sections) == {"c": Entitlement("c")}
