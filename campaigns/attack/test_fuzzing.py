"""The corpus of every target, and a few mutations of it."""

from functools import partial

import pytest

from campaigns.attack.bus_bytes import Blobmsg, BusFrames
from campaigns.attack.conftest import Short
from campaigns.attack.fuzzing import Target, corpus, fuzz
from campaigns.attack.gateway_requests import GatewayRequests
from campaigns.attack.pages import OutcomePageTexts
from campaigns.attack.return_addresses import ReturnAddresses
from campaigns.attack.stripe_answers import StripeAnswers
from campaigns.attack.uci_content import UciFeatures, UciSettings
from campaigns.attack.webhook_bodies import WebhookBodies


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (Blobmsg, 1500),
        (BusFrames, 600),
        (ReturnAddresses, 800),
        (GatewayRequests, 120),
        (WebhookBodies, 60),
        (StripeAnswers, 25),
        (UciSettings, 15),
        (UciFeatures, 15),
        (OutcomePageTexts, 25),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_target(short: Short, target: type[Target], count: int) -> None:
    assert corpus(target.name)
    await short(partial(fuzz, target), count)
