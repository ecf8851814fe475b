"""The uhttpd of the internet's side, as the init script starts it: the gateway and nothing of LuCI."""

from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from simulator.browser_front import gateway
from simulator.browser_front.request_limits import too_large
from simulator.browser_front.script_slots import ScriptSlots
from simulator.listening import LOOPBACK, Listening
from ubus_py import Client

PUBLIC_SCRIPTS: Final = 32
"""``-n`` in the init script."""

_SHARED: Final = ("payment-success", "payment-cancel")
PREFIXES: Final = tuple(
    f"/api/payments/{name}" for name in ("webhook", "health", "status", *_SHARED)
) + tuple(f"/{name}" for name in _SHARED)


class PublicGateway:
    """``url`` is where it serves, once it was started."""

    def __init__(self, bus_path: str | Path) -> None:
        self._bus = Client(str(bus_path))
        self._gateway = gateway.Gateway(self._bus)
        self._runner: web.AppRunner | None = None
        self.slots = ScriptSlots(PUBLIC_SCRIPTS)
        self.url = ""

    async def start(self, host: str = LOOPBACK, port: int = 0) -> None:
        """Connect to the bus and serve."""
        await self._bus.start()
        listening = Listening.only(host)
        self._runner, port = await serve(self._handle, listening, port)
        self.url = listening.local_url(port)

    async def stop(self) -> None:
        """Stop serving and leave the bus."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._bus.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if (refused := too_large(request)) is not None:
            return refused
        if not any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES):
            return web.Response(status=404, text="Not Found\n")
        return await gateway.in_a_slot(self.slots, lambda: self._gateway.handle(request))


async def serve(handle: Handler, listening: Listening, port: int) -> tuple[web.AppRunner, int]:
    """Serve every request by ``handle``; returns what to clean up, and the port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    return runner, await listening.serve(runner, port)
