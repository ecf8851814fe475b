"""The parts of the campaign: what is tried, by what, and how the time is shared between them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from campaigns.attack import (
    browser_sites,
    bus_rights,
    coverage_guided,
    cross_site,
    deliveries,
    enumeration,
    floods,
    leakage,
    log_injection,
    luci_pages,
    odd_money,
    properties,
    requests_by_hand,
    slow_clients,
    timing,
)
from campaigns.attack.bus_bytes import Blobmsg, BusFrames
from campaigns.attack.cases import Cases
from campaigns.attack.existing_tests import existing_tests
from campaigns.attack.fuzzing import Target, fuzz
from campaigns.attack.gateway_requests import GatewayRequests
from campaigns.attack.pages import OutcomePageTexts
from campaigns.attack.return_addresses import ReturnAddresses
from campaigns.attack.stripe_answers import StripeAnswers
from campaigns.attack.uci_content import UciFeatures, UciSettings
from campaigns.attack.webhook_bodies import WebhookBodies
from tests.interop.world import skip_reason

__all__ = ["ATTACKS", "Attack"]


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Attack:
    """`run` makes the cases: at least `count` in the long form, `short` in the short one (0: left out).

    `share`: its share of the time (0: a list that is tried once); `missing`: why it cannot be run here, None
    if it can; `target`: what takes a single input; `browser`: drives Chromium.
    """

    name: str
    what: str
    run: Callable[[Cases], Awaitable[None]]
    count: int = 1
    share: int = 0
    short: int = 1
    missing: Callable[[], str | None] = _nothing
    target: type[Target] | None = None
    browser: bool = False


def _fuzzed(target: type[Target], what: str, count: int, share: int, short: int) -> Attack:
    return Attack(target.name, what, functools.partial(fuzz, target), count, share, short, target=target)


ATTACKS: Final = (
    _fuzzed(Blobmsg, "bytes that are no table, to the bus library's decoder", 20_000, 1, 1500),
    _fuzzed(BusFrames, "bytes that are no frames, whole and in pieces, to a connection", 10_000, 1, 600),
    _fuzzed(
        GatewayRequests, "anything a bus can carry as a request of the web server's gateway", 2_000, 3, 120
    ),
    _fuzzed(WebhookBodies, "anything as the body of a webhook that is genuinely signed", 1_000, 3, 60),
    _fuzzed(
        StripeAnswers, "Stripe's answers with parts changed, in all that asks Stripe, over HTTP", 300, 6, 25
    ),
    _fuzzed(UciSettings, "/etc/config/stripe-payments with anything in it", 200, 3, 15),
    _fuzzed(UciFeatures, "/etc/config/stripe-features with anything in it", 100, 1, 15),
    _fuzzed(
        OutcomePageTexts,
        "every text that reaches the two pages, hostile: they are built the same",
        300,
        2,
        25,
    ),
    _fuzzed(ReturnAddresses, "return addresses that lead elsewhere (open redirect)", 20_000, 1, 800),
    Attack(
        "properties",
        "the same by Hypothesis: addresses, log, settings, answers",
        properties.properties,
        100,
        2,
        short=25,
    ),
    Attack(
        "coverage-guided",
        "the same by Atheris, which sees what an input reaches: ten decoders and parsers",
        coverage_guided.coverage_guided,
        50,
        8,
        missing=coverage_guided.available,
        short=1,
    ),
    Attack(
        "odd-money",
        "500s kept under keys, and Stripe's objects with odd amounts, statuses, items, payments, schedules",
        odd_money.odd_money,
        50,
        short=6,
    ),
    Attack(
        "webhooks-forged",
        "deliveries signed in every way but Stripe's, and bits flipped",
        deliveries.forged,
        500,
        1,
        short=60,
    ),
    Attack(
        "webhooks-replayed",
        "a recorded delivery: at once, after a restart, minutes and months later",
        deliveries.replayed,
    ),
    Attack(
        "webhooks-cross-account",
        "events of other routers, accounts and modes",
        deliveries.cross_account,
        short=20,
    ),
    Attack(
        "cross-site-forgery",
        "what browsers say of a page × bodies, with the victim's cookie",
        cross_site.forgery,
        600,
        short=150,
    ),
    Attack(
        "sessions",
        "logins planted, invented, ended, misplaced; the hand-over (session fixation)",
        cross_site.sessions,
    ),
    Attack(
        "host-headers",
        "hosts, forwarded headers, absolute targets: what the way back becomes",
        requests_by_hand.hosts,
    ),
    Attack(
        "paths",
        "paths disguised by dots, escapes, slashes, letters",
        requests_by_hand.paths,
        5_000,
        short=120,
    ),
    Attack(
        "header-injection",
        "line ends and markup in everything that is reflected",
        requests_by_hand.headers,
        5_000,
        short=40,
    ),
    Attack(
        "log-injection",
        "line ends, quotes, escapes in what is logged: the real log's bytes",
        log_injection.log_injection,
        5_000,
        short=40,
    ),
    Attack(
        "other-sites",
        "pages of other sites in a real browser with a session",
        browser_sites.other_sites,
        100,
        short=2,
        browser=True,
    ),
    Attack(
        "pages-in-a-browser",
        "the two pages with hostile titles, and framed, in Chromium",
        browser_sites.outcome_pages,
        100,
        browser=True,
    ),
    Attack(
        "luci-pages",
        "LuCI's pages with every text hostile, in Chromium: nothing runs or leads away",
        luci_pages.pages,
        6,
        4,
        browser=True,
    ),
    Attack(
        "csv-files",
        "what a spreadsheet would compute, through the shipped CSV code",
        luci_pages.files,
        20_000,
        short=400,
        browser=True,
    ),
    Attack(
        "addresses-in-a-browser",
        "accepted return addresses as Chromium reads them",
        browser_sites.addresses,
        2_000,
        short=20,
        browser=True,
    ),
    Attack(
        "enumeration",
        "ids of others, of other kinds, near misses: the same answer, no request",
        enumeration.enumeration,
    ),
    Attack(
        "secrets",
        "a whole life with marked secrets; every place that it left is searched",
        leakage.leakage,
        1,
        1,
    ),
    Attack("signature-timing", "how signatures are compared", timing.timing, 1, 1),
    Attack(
        "floods",
        "many, slow and huge requests to the web side; bus, flash, memory, Stripe",
        floods.floods,
        400,
        short=70,
    ),
    Attack(
        "floods-of-uhttpd",
        "the same against real uhttpd and the ucode gateway",
        floods.real_floods,
        400,
        missing=skip_reason,
        short=0,
    ),
    Attack(
        "slow-clients",
        "slow clients in the script slots of the public gateway and of LuCI: webhooks and pages in time",
        slow_clients.slow_clients,
        100,
        short=40,
    ),
    Attack("bus-rights", "a user without rights, and a daemon taken over, on the bus", bus_rights.bus_rights),
    Attack(
        "existing-tests",
        "the tests of attacks that stand elsewhere",
        existing_tests,
        1,
        short=0,
    ),
)
