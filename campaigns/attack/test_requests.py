"""Webhooks, browsers and clients that are not what they say."""

from campaigns.attack import cross_site, deliveries, enumeration, requests_by_hand
from campaigns.attack.conftest import Short


async def test_forged_webhooks(short: Short) -> None:
    await short(deliveries.forged, 60)


async def test_replayed_webhooks(short: Short) -> None:
    await short(deliveries.replayed, 1)


async def test_webhooks_of_others(short: Short) -> None:
    await short(deliveries.cross_account, 20)


async def test_cross_site_forgery(short: Short) -> None:
    await short(cross_site.forgery, 150)


async def test_sessions(short: Short) -> None:
    await short(cross_site.sessions, 1)


async def test_hosts(short: Short) -> None:
    await short(requests_by_hand.hosts, 1)


async def test_paths(short: Short) -> None:
    await short(requests_by_hand.paths, 120)


async def test_headers(short: Short) -> None:
    await short(requests_by_hand.headers, 40)


async def test_enumeration(short: Short) -> None:
    await short(enumeration.enumeration, 1)
