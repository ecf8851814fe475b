"""The corpus of every target, and a few mutations of it."""

from functools import partial

import pytest

from tests.attack.bus_bytes import Blobmsg, BusFrames
from tests.attack.conftest import Short
from tests.attack.fuzzing import Target, corpus, fuzz
from tests.attack.gateway_requests import GatewayRequests
from tests.attack.pages import OutcomePageTexts
from tests.attack.return_addresses import ReturnAddresses
from tests.attack.stripe_answers import StripeAnswers
from tests.attack.uci_content import UciFeatures, UciSettings
from tests.attack.webhook_bodies import WebhookBodies


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
