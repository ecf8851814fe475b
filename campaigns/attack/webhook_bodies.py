"""Webhook bodies that carry a genuine signature and are anything but what Stripe sends."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Self

from campaigns.attack.byte_mutations import mutated as mutated_bytes
from campaigns.attack.complaints import listening
from campaigns.attack.fuzzing import Target
from campaigns.attack.gateway_requests import fault_of
from campaigns.attack.hostile_texts import LINE_BREAKS
from campaigns.attack.json_mutations import JUNK, mutated
from stripe_payments.stripe_api import sign
from stripe_payments.sync.events import EVENT_TYPES
from tests.unit.stripe_payments.harness import Shop, open_shop

__all__ = ["SECRET", "WebhookBodies"]

SECRET = "whsec_thisRoutersOwnSecret"

_TOKENS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b'"id":"evt_2",',
    b'{"a":' * 3000,
    b"[" * 3000,
    b"null",
    b"/*",
    b",",
)


class WebhookBodies(Target):
    """Stripe hears 200 for whatever is an event, 400 for whatever is no JSON object; nothing unlocks,
    nothing is kept but ids, nothing fails.
    """

    name = "webhook-bodies"

    async def __aenter__(self) -> Self:
        self._complaints = self.stack.enter_context(listening())
        self._shop: Shop = await self.stack.enter_async_context(open_shop(self.folder))
        await self._shop.harness.call("set_keys", webhook_secret=SECRET)
        await self._shop.harness.call("sync")
        return self

    async def attempt(self, given: bytes) -> str | None:
        body = given.replace(b"\0", b"\xff")  # the gateway passes no NUL on: the bus would end the text there
        parts = await self._shop.harness.parts()
        now = parts.clock.now() or 0
        reply = await self._shop.harness.http(
            "POST",
            "/api/payments/webhook",
            body,
            stripe_signature=f"t={now},v1={sign(body, SECRET, now)}",
            content_type="application/json",
        )
        if (fault := fault_of(reply.as_received())) is not None:
            return fault
        if reply.status == 200:
            if reply.json() != {"received": True}:
                return f"answered {reply.body}"
            await parts.inbox.work()
        elif reply.error != (400, "invalid_json"):
            return f"a genuine signature is answered {reply.error}"
        unlocked = [name for name, held in parts.reconciler.state.entitlements.items() if held.unlocked]
        return self._complaints.taken() or (f"unlocked {unlocked}" if unlocked else None)

    def mutate(self, chance: Random, given: bytes) -> bytes:
        if chance.random() < 0.35:
            return mutated_bytes(chance, given, _TOKENS)
        try:
            event: Any = json.loads(given)
        except (ValueError, RecursionError):
            return mutated_bytes(chance, given, _TOKENS)
        if isinstance(event, dict) and chance.random() < 0.2:
            event["type"] = chance.choice(sorted(EVENT_TYPES))
            event["id"] = f"evt_{chance.randrange(10**9)}"
        changed = mutated(chance, event, (*JUNK, *LINE_BREAKS))
        text = json.dumps(changed, ensure_ascii=chance.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")
