"""What the seller does: at the router in direct mode, at the hub otherwise. One interface for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from payments_hub.errors import HubError, VendorError
from payments_hub.operations import Operations
from simulator.world import World
from stripe_payments.errors import PaymentError
from tests.flows.hub_mode_router import HubModeRouter
from ubus_py import StatusError

__all__ = ["RefusedError", "Seller", "seller_of"]


class RefusedError(Exception):
    """The seller's action was refused; `code` is the documented one."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Seller(Protocol):
    """Each action raises RefusedError."""

    async def refund(self, payment_id: str, amount: int | None = None) -> dict[str, Any]:
        """The refund that was made; of everything without `amount`, in minor units."""
        ...

    async def grant(self, feature: str, note: str | None = None) -> None:
        """Unlock a feature without payment."""
        ...

    async def revoke(self, feature: str) -> None:
        """End a grant."""
        ...

    async def configure(self, section: str, **values: str) -> None:
        """Set options of a price, or of everything (`main`); returns when they are in force."""
        ...

    async def customer(self) -> str:
        """The router's customer at Stripe."""
        ...


def seller_of(world: World) -> Seller:
    """The seller of a router in either mode."""
    return _HubSeller(world) if isinstance(world, HubModeRouter) else _RouterSeller(world)


class _RouterSeller:
    """Direct mode: the methods of the bus, and UCI."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def refund(self, payment_id: str, amount: int | None = None) -> dict[str, Any]:
        part = {} if amount is None else {"amount": amount}
        return await self._call("refund", payment_id=payment_id, **part)

    async def grant(self, feature: str, note: str | None = None) -> None:
        await self._call("grant", feature=feature, **({} if note is None else {"note": note}))

    async def revoke(self, feature: str) -> None:
        await self._call("revoke", feature=feature)

    async def configure(self, section: str, **values: str) -> None:
        """`uci set`, `uci commit`."""
        reread = "settings reloaded"
        before = self._world.daemon.log_text().count(reread)
        given: Any = {"config": "stripe-payments", "section": section, "values": values}
        await self._world.bus.call("uci", "set", given)
        await self._world.bus.call("uci", "commit", {"config": "stripe-payments"})

        async def read() -> bool:
            return self._world.daemon.log_text().count(reread) > before

        await self._world.wait_until(read)

    async def customer(self) -> str:
        return str((await self._call("status"))["customer"])

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        try:
            return await self._world.bus.call("stripe-payments", method, arguments)
        except StatusError as error:
            body: Any = error.data
            assert body["error"]["message"]
            raise RefusedError(body["error"]["code"]) from error


class _HubSeller:
    """Hub mode: the operations of the console and the command line, and the catalog."""

    def __init__(self, router: HubModeRouter) -> None:
        self._router = router

    async def refund(self, payment_id: str, amount: int | None = None) -> dict[str, Any]:
        return await self._do(lambda act, router: act.refund(router, payment_id, amount))

    async def grant(self, feature: str, note: str | None = None) -> None:
        await self._do(lambda act, router: act.grant(router, feature, note=note))

    async def revoke(self, feature: str) -> None:
        await self._do(lambda act, router: act.end_grant(router, feature))

    async def configure(self, section: str, **values: str) -> None:
        """`payments-hub catalog apply`."""
        catalogs = self._router.vendor.hub.catalogs
        held = await catalogs.current()
        heading = "[options]\n" if section == "main" else f"[prices.{section}]\n"
        options = "".join(f'{option} = "{value}"\n' for option, value in values.items())
        document = held.document.replace(heading, heading + options)
        assert document != held.document
        prices = {one.alias: one.price_id or "" for one in held.settings.prices.values()}
        await catalogs.apply(document, prices)

    async def customer(self) -> str:
        row = await self._router.vendor.hub.routers.get(await self._router.router_id())
        assert row is not None
        return str(row["customer"])

    async def _do(self, act: Callable[[Operations, str], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        operations = Operations(self._router.vendor.hub, "cli:test")
        try:
            return await act(operations, await self._router.router_id())
        except (HubError, VendorError, PaymentError) as error:
            raise RefusedError(error.code) from error
