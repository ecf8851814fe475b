"""Settings: the shipped file is right; a wrong value is reported and harms nothing else."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.router.uci_file import parse
from stripe_payments.settings import Price, Settings, settings_from_uci

SHIPPED = Path(__file__).resolve().parents[4] / "files/etc/config/stripe-payments"
FEATURES = Path(__file__).resolve().parents[4] / "files/etc/config/stripe-features"


def sections(text: str) -> dict[str, dict[str, Any]]:
    """The text of a configuration as rpcd's ``uci get`` returns it."""
    return {
        section.name: {".type": section.type, ".name": section.name, ".anonymous": section.anonymous}
        | section.options
        for section in parse("stripe-payments", text).sections
    }


def read(text: str) -> Settings:
    return settings_from_uci(sections(text))


MINIMAL = """
config payments 'main'
config plan 'p'
	list feature 'f'
config price 'monthly'
	option of 'p'
	option amount '100'
	option currency 'eur'
	option interval 'month'
config feature 'f'
"""


def problems(settings: Settings) -> set[tuple[str, str]]:
    return {(problem.section, problem.option) for problem in settings.problems}


def test_the_shipped_file_is_the_design() -> None:
    settings = read(SHIPPED.read_text())
    assert settings.problems == ()
    assert settings.enabled
    assert (settings.poll_interval, settings.public_url, settings.listen) == (900, None, ())
    assert list(settings.plans) == ["base", "premium", "business"]
    assert list(settings.products) == ["router_os_premium"]
    assert {
        price.alias: (price.of, price.amount, price.currency, price.interval)
        for price in settings.prices.values()
    } == {
        "price_base_monthly": ("base", 199, "eur", "month"),
        "price_base_yearly": ("base", 1999, "eur", "year"),
        "price_premium_monthly": ("premium", 499, "eur", "month"),
        "price_premium_yearly": ("premium", 4999, "eur", "year"),
        "price_business_monthly": ("business", 1499, "eur", "month"),
        "price_business_yearly": ("business", 14999, "eur", "year"),
        "price_premium_onetime": ("router_os_premium", 4999, "eur", None),
    }
    assert all(price.price_id is None for price in settings.prices.values())
    base, premium, business = (set(plan.features) for plan in settings.plans.values())
    assert base < premium < business == set(settings.features)
    assert set(settings.products["router_os_premium"].features) == premium


def test_everything_shipped_has_a_text_in_both_languages() -> None:
    settings = read(SHIPPED.read_text())
    for thing in [*settings.plans.values(), *settings.products.values(), *settings.features.values()]:
        assert thing.title_in("it")
        assert thing.description
        assert thing.description_in("it") != thing.description_in("en")


def test_the_shipped_state_locks_every_shipped_feature() -> None:
    state = parse("stripe-features", FEATURES.read_text())
    assert [section.name for section in state.sections] == list(read(SHIPPED.read_text()).features)
    assert all(section.options["unlocked"] == "0" for section in state.sections)


def test_no_secret_fits_into_the_shipped_file() -> None:
    assert not any(word in SHIPPED.read_text() for word in ("option secret", "option webhook_secret"))


def test_lookup_by_alias_and_by_price_id() -> None:
    settings = read(MINIMAL.replace("option amount", "option price_id 'price_1Abc'\n\toption amount"))
    price = Price("monthly", "p", "price_1Abc", 100, "eur", "month")
    assert settings.price("monthly") == settings.price("price_1Abc") == price
    assert settings.price("price_other") is None
    assert settings.sellable("p") == settings.plans["p"]
    assert settings.sellable("nothing") is None
    assert settings.features_of(price) == ("f",)
    assert settings.prices_of("p") == (price,)
    assert settings.problems == ()


def test_the_options_of_main_are_read() -> None:
    main = """config payments 'main'
	option enabled '0'
	option public_url 'https://router.example.org:8443/'
	option phone_return_url 'https://shop.example.org/back?x=1'
	list listen '0.0.0.0:8443'
	list listen '[::]:8443'
	option poll_interval '60'
	option grace_days '0'
	option offline_days '90'
	option locale 'it'
	list allowed_origin 'https://Portal.example.org/'
	list allowed_origin 'http://10.0.0.1:80'
"""
    settings = read(MINIMAL.replace("config payments 'main'\n", main))
    assert settings.problems == ()
    assert not settings.enabled
    assert settings.public_url == "https://router.example.org:8443/"
    assert settings.phone_return_url == "https://shop.example.org/back?x=1"
    assert settings.listen == ("0.0.0.0:8443", "[::]:8443")
    assert (settings.poll_interval, settings.grace_days, settings.offline_days) == (60, 0, 90)
    assert settings.locale == "it"
    assert settings.allowed_origins == ("https://portal.example.org", "http://10.0.0.1")


@pytest.mark.parametrize(
    ("option", "value", "attribute"),
    [
        ("enabled", "maybe", "enabled"),
        ("public_url", "router.lan", "public_url"),
        ("public_url", "javascript:alert(1)", "public_url"),
        ("public_url", "ftp://router.lan/", "public_url"),
        ("public_url", "https://user:word@router.lan/", "public_url"),
        ("public_url", "https://", "public_url"),
        ("public_url", "https://router.lan:99999/", "public_url"),
        ("public_url", "https://a b/", "public_url"),
        ("phone_return_url", "data:text/html,x", "phone_return_url"),
        ("poll_interval", "soon", "poll_interval"),
        ("poll_interval", "1", "poll_interval"),
        ("poll_interval", "-900", "poll_interval"),
        ("poll_interval", "9" * 5000, "poll_interval"),
        ("grace_days", "0" * 12 + "366", "grace_days"),
        ("grace_days", "0" * 12 + "9" * 5000, "grace_days"),
        ("grace_days", "1.5", "grace_days"),
        ("offline_days", "٣", "offline_days"),
        ("locale", "fr", "locale"),
        ("listen", "everywhere", "listen"),
        ("listen", "0.0.0.0:0", "listen"),
        ("allowed_origin", "https://a/path", "allowed_origins"),
        ("allowed_origin", "*", "allowed_origins"),
        ("allowed_origin", "null", "allowed_origins"),
    ],
)
def test_a_bad_value_keeps_the_default_and_is_reported(option: str, value: str, attribute: str) -> None:
    given_sections = sections(MINIMAL)
    given_sections["main"][option] = value
    settings = settings_from_uci(given_sections)
    assert getattr(settings, attribute) == getattr(Settings.DEFAULTS, attribute)
    assert ("main", option) in problems(settings)
    assert settings.prices.keys() == {"monthly"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("of", "nothing"),
        ("of", ""),
        ("amount", "49.99"),
        ("amount", "-1"),
        ("amount", ""),
        ("amount", "100000000"),
        ("amount", "0" * 12 + "100000000"),
        ("amount", "0" * 12 + "9" * 5000),
        ("amount", "٣"),
        ("currency", "euro"),
        ("currency", "€"),
        ("interval", "week"),
        ("interval", "none"),
    ],
)
def test_a_price_that_cannot_be_right_is_not_for_sale(option: str, value: str) -> None:
    given_sections = sections(MINIMAL)
    given_sections["monthly"][option] = value
    settings = settings_from_uci(given_sections)
    assert settings.prices == {}
    assert ("monthly", option) in problems(settings)
    for problem in settings.problems:
        assert problem.text.in_locale("it") != str(problem.text)


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("150000000", "idr", None),
        ("999999999999", "idr", None),
        ("1000000000000", "idr", "not an amount"),
        ("100000000", "eur", "not an amount"),
        ("4990", "kwd", None),
        ("4995", "kwd", "multiple of 10"),
        ("5000", "isk", None),
        ("4999", "isk", "multiple of 100"),
        ("500050", "ugx", "multiple of 100"),
        ("49990", "huf", None),
        ("17499", "huf", "minimum of 175.00 HUF"),
        ("10001", "twd", None),
        ("50", "eur", None),
        ("49", "eur", "minimum of 0.50 EUR"),
        ("49", "jpy", "minimum of 50 JPY"),
        ("29", "gbp", "minimum of 0.30 GBP"),
        ("10", "clp", None),
        ("0", "eur", None),
    ],
)
def test_an_amount_must_be_one_that_stripe_charges(amount: str, currency: str, reason: str | None) -> None:
    given_sections = sections(MINIMAL)
    given_sections["monthly"] |= {"amount": amount, "currency": currency}
    settings = settings_from_uci(given_sections)
    if reason is None:
        assert settings.problems == ()
        assert settings.prices["monthly"].amount == int(amount)
        return
    assert settings.prices == {}
    (problem,) = [one for one in settings.problems if one.section == "monthly"]
    assert problem.option == "amount"
    assert reason in str(problem.text)
    assert problem.text.in_locale("it") != str(problem.text)


@pytest.mark.parametrize(
    ("written", "read_as", "wrong"),
    [
        ("", None, False),
        ("inclusive", "inclusive", False),
        ("Exclusive", "exclusive", False),
        ("unspecified", None, True),
        ("1", None, True),
    ],
)
def test_the_tax_behavior_is_that_of_every_price(written: str, read_as: str | None, *, wrong: bool) -> None:
    given_sections = sections(MINIMAL)
    given_sections["main"]["tax_behavior"] = written
    settings = settings_from_uci(given_sections)
    assert settings.tax_behavior == settings.prices["monthly"].tax_behavior == read_as
    assert (("main", "tax_behavior") in problems(settings)) is wrong


def test_a_product_is_not_sold_by_the_month() -> None:
    assert read(MINIMAL.replace("config plan", "config product")).prices == {}


@pytest.mark.parametrize("zeros", [1, 12, 5000])
def test_zeros_before_a_number_change_nothing(zeros: int) -> None:
    given_sections = sections(MINIMAL)
    given_sections["main"]["grace_days"] = "0" * zeros + "8"
    given_sections["main"]["offline_days"] = "0" * zeros
    given_sections["monthly"]["amount"] = "0" * zeros + "199"
    settings = settings_from_uci(given_sections)
    assert settings.problems == ()
    assert (settings.grace_days, settings.offline_days, settings.prices["monthly"].amount) == (8, 0, 199)


def test_a_price_id_that_is_none_is_ignored_but_the_price_stays() -> None:
    given_sections = sections(MINIMAL)
    given_sections["monthly"]["price_id"] = "prod_123"
    settings = settings_from_uci(given_sections)
    assert settings.prices["monthly"].price_id is None
    assert problems(settings) == {("monthly", "price_id")}


def test_two_prices_cannot_be_one_at_stripe() -> None:
    text = MINIMAL.replace("option amount", "option price_id 'price_1'\n\toption amount")
    again = """config price 'yearly'
	option of 'p'
	option price_id 'price_1'
	option amount '900'
	option interval 'year'
	option trial_days '14'
	option trial_requires_card '0'
"""
    settings = read(text + again)
    assert settings.price("price_1") == settings.prices["monthly"]
    assert settings.prices["yearly"] == Price(
        "yearly", "p", None, 900, "eur", "year", trial_days=14, trial_requires_card=False
    )
    assert problems(settings) == {("yearly", "price_id")}


def test_a_listed_feature_without_a_section_is_sold_all_the_same() -> None:
    settings = read(MINIMAL.replace("config feature 'f'", ""))
    assert settings.features["f"].title == "f"
    assert problems(settings) == {("p", "feature")}


def test_an_option_instead_of_a_list_is_accepted() -> None:
    settings = read(MINIMAL.replace("list feature 'f'", "option feature 'f g'"))
    assert settings.plans["p"].features == ("f", "g")


def test_anonymous_sections_are_reported_not_sold() -> None:
    settings = read(MINIMAL + "config plan\n\toption title 'No name'\n")
    assert set(settings.plans) == {"p"}
    assert len(settings.problems) == 1


def test_a_file_in_another_encoding_is_reported_and_stays_readable() -> None:
    latin = (
        "config plan 'p'\n\toption title 'Funzionalit\udce0'\n\tlist feature 'f'\nconfig payments 'main'\n"
    )
    settings = read(latin)
    assert settings.plans["p"].title == "Funzionalit\ufffd"
    (problem,) = [one for one in settings.problems if one.option == "title"]
    assert "UTF-8" in str(problem.text)
    assert "UTF-8" in problem.text.in_locale("it")


def test_an_empty_configuration_gives_the_defaults_and_a_problem() -> None:
    settings = settings_from_uci({})
    assert problems(settings) == {("main", "")}
    assert settings.prices == {}


_value = (
    st.text(max_size=12)
    | st.lists(st.text(max_size=6), max_size=3)
    | st.booleans()
    | st.none()
    | st.integers()
)


@given(
    st.dictionaries(
        st.sampled_from(["main", "a", "b", "c", "x y", ""]),
        st.dictionaries(
            st.sampled_from(
                [
                    ".anonymous",
                    "enabled",
                    "public_url",
                    "listen",
                    "poll_interval",
                    "locale",
                    "allowed_origin",
                    "of",
                    "amount",
                    "currency",
                    "interval",
                    "price_id",
                    "feature",
                    "title",
                    "title_it",
                ]
            ),
            _value,
        ).flatmap(
            lambda options: st.sampled_from(["payments", "plan", "product", "price", "feature", "x"]).map(
                lambda kind: {**options, ".type": kind}
            )
        ),
    )
)
def test_nothing_in_the_file_stops_the_daemon(given_sections: dict[str, dict[str, Any]]) -> None:
    settings = settings_from_uci(given_sections)
    for price in settings.prices.values():
        assert settings.sellable(price.of) is not None
    for plan in settings.plans.values():
        assert set(plan.features) <= set(settings.features)
