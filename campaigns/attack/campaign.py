"""The lines of the table: what is tried, by what, and how the time is shared between them."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
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
    properties,
    requests_by_hand,
    timing,
)
from campaigns.attack.bus_bytes import Blobmsg, BusFrames
from campaigns.attack.existing_tests import existing_tests
from campaigns.attack.fuzzing import Target, fuzz
from campaigns.attack.gateway_requests import GatewayRequests
from campaigns.attack.pages import OutcomePageTexts
from campaigns.attack.return_addresses import ReturnAddresses
from campaigns.attack.stripe_answers import StripeAnswers
from campaigns.attack.trials import Trials
from campaigns.attack.uci_content import UciFeatures, UciSettings
from campaigns.attack.webhook_bodies import WebhookBodies
from campaigns.report import Campaign
from tests.interop.world import skip_reason

__all__ = ["ATTACKS", "Attack", "run"]

Say = Callable[[str], object]


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Attack:
    """`run` makes the trials. `count`: how many at least in the long form; `share`: its part of the time,
    beside those of the others (0: a list that is gone through once); `missing`: why it cannot be run here,
    None if it can; `target`: what a single input can be thrown at.
    """

    name: str
    what: str
    run: Callable[[Trials], Awaitable[None]]
    count: int = 1
    share: int = 0
    missing: Callable[[], str | None] = _nothing
    target: type[Target] | None = None


def _fuzzed(target: type[Target], what: str, count: int, share: int) -> Attack:
    return Attack(target.name, what, functools.partial(fuzz, target), count, share, target=target)


ATTACKS: Final = (
    _fuzzed(Blobmsg, "bytes that are no table, to the bus library's decoder", 20_000, 1),
    _fuzzed(BusFrames, "bytes that are no frames, whole and in pieces, to a connection", 10_000, 1),
    _fuzzed(GatewayRequests, "anything a bus can carry as a request of the web server's gateway", 2_000, 3),
    _fuzzed(WebhookBodies, "anything as the body of a webhook that is genuinely signed", 1_000, 3),
    _fuzzed(StripeAnswers, "Stripe's answers with parts changed, in all that asks Stripe, over HTTP", 300, 6),
    _fuzzed(UciSettings, "/etc/config/stripe-payments with anything in it", 200, 3),
    _fuzzed(UciFeatures, "/etc/config/stripe-features with anything in it", 100, 1),
    _fuzzed(
        OutcomePageTexts, "every text that reaches the two pages, hostile: they are built the same", 300, 2
    ),
    _fuzzed(ReturnAddresses, "return addresses that lead elsewhere (open redirect)", 20_000, 1),
    Attack(
        "properties",
        "the same by Hypothesis: addresses, log, settings, answers",
        properties.properties,
        100,
        2,
    ),
    Attack(
        "coverage-guided",
        "the same by Atheris, which sees what an input reaches: ten decoders and parsers",
        coverage_guided.coverage_guided,
        50,
        8,
        missing=coverage_guided.available,
    ),
    Attack(
        "webhooks-forged",
        "deliveries signed in every way but Stripe's, and bits flipped",
        deliveries.forged,
        500,
        1,
    ),
    Attack(
        "webhooks-replayed",
        "a recorded delivery: at once, after a restart, minutes and months later",
        deliveries.replayed,
    ),
    Attack("webhooks-cross-account", "events of other routers, accounts and modes", deliveries.cross_account),
    Attack(
        "cross-site-forgery",
        "what browsers say of a page × bodies, with the victim's cookie",
        cross_site.forgery,
        600,
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
    Attack("paths", "paths disguised by dots, escapes, slashes, letters", requests_by_hand.paths, 5_000),
    Attack(
        "header-injection",
        "line ends and markup in everything that is reflected",
        requests_by_hand.headers,
        5_000,
    ),
    Attack(
        "log-injection",
        "line ends, quotes, escapes in what is logged: the real log's bytes",
        log_injection.log_injection,
        5_000,
    ),
    Attack(
        "other-sites",
        "pages of other sites in a real browser of somebody logged in",
        browser_sites.other_sites,
        100,
    ),
    Attack(
        "pages-in-a-browser",
        "the two pages with hostile titles, and framed, in Chromium",
        browser_sites.outcome_pages,
        100,
    ),
    Attack(
        "luci-pages",
        "LuCI's pages with every text hostile, in Chromium: nothing runs or leads away",
        luci_pages.pages,
        6,
        4,
    ),
    Attack(
        "csv-files",
        "what a spreadsheet would compute, through the shipped CSV code",
        luci_pages.files,
        20_000,
    ),
    Attack(
        "addresses-in-a-browser",
        "accepted return addresses as Chromium reads them",
        browser_sites.addresses,
        2_000,
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
    ),
    Attack(
        "floods-of-uhttpd",
        "the same against real uhttpd and the ucode gateway",
        floods.real_floods,
        400,
        missing=skip_reason,
    ),
    Attack("bus-rights", "a user without rights, and a daemon taken over, on the bus", bus_rights.bus_rights),
    Attack("existing-tests", "the tests of attacks that stand elsewhere", existing_tests, 1),
)


async def run(attacks: Iterable[Attack], seconds: float, seed: int, say: Say) -> Campaign:
    """Each attack in turn, with its `count` and its share of the time."""
    campaign = Campaign("held")
    chosen = list(attacks)
    shares = sum(attack.share for attack in chosen if attack.missing() is None) or 1
    for attack in chosen:
        if (reason := attack.missing()) is not None:
            campaign.leave_out(attack.name, attack.what, reason)
            continue
        line = campaign.line(attack.name, attack.what)
        mine = max(seconds * attack.share / shares, 1e-3)
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            trials = Trials(line, Path(folder), count=attack.count, seconds=mine, seed=seed)
            say(f"{attack.name} …")
            try:
                await attack.run(trials)
            except Exception as error:  # noqa: BLE001 - one line that breaks must not hide the others
                trials.note(f"the attack itself broke: {type(error).__name__}: {error}", "all of it")
        for note in trials.notes:
            say(f"  {note}")
    return campaign


def named(names: Iterable[str]) -> list[Attack]:
    """The attacks of these names, all if none is named. Exits with a sentence for an unknown name."""
    wanted = list(names)
    known = {attack.name: attack for attack in ATTACKS}
    if wrong := [name for name in wanted if name not in known]:
        sys.exit(f"there is no attack {', '.join(wrong)}; there are {', '.join(known)}")
    return [known[name] for name in wanted] or list(ATTACKS)
