"""The front: one aiohttp server that sorts requests as uhttpd does, by the path as the client wrote it."""

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import segno
from aiohttp import web

from simulator.browser_front import gateway
from simulator.browser_front.json_rpc import JsonRpc, no_bus
from simulator.browser_front.pages import Pages
from simulator.browser_front.public_gateway import serve
from simulator.browser_front.request_limits import too_large
from simulator.browser_front.script_slots import ScriptSlots
from simulator.browser_front.sessions import SCRIPT_NAME
from simulator.browser_front.static_files import TYPES, StaticFiles
from simulator.listening import LOOPBACK, Listening
from ubus_py import STRING, Call, Client, Method, Object, Status, StatusError, UbusError, Value

UBUS: Final = "/ubus"
UBUS_OF_LUCI: Final = f"{SCRIPT_NAME}/admin/ubus"
"""LuCI answers calls itself, too: a tab keeps to this when its first request to `/ubus` was cut off."""
STATIC: Final = "/luci-static/"
PEER_ADDRESS: Final = "/cgi-bin/cgi-exec"
"""Before LuCI applies changes it has a program tell on which interface the browser comes in: on none."""
QR_PATH: Final = "/luci-static/standin/qr.svg"


class BrowserFront:
    """The simulated router's HTTP server.

    ``bus_path`` is the bus, ``root`` the folder that stands for the router's ``/`` (its ``menu.d`` is read),
    and ``luci_src`` a LuCI source tree whose client files to serve; without one the stand-in's are served.
    """

    def __init__(self, bus_path: str | Path, root: Path, luci_src: Path | None = None) -> None:
        self.bus_path = bus_path
        self._bus = Client(str(bus_path))
        self._files = StaticFiles(luci_src)
        self._rpc = JsonRpc(self._bus)
        self._gateway = gateway.Gateway(self._bus)
        self._pages = Pages(self._bus, root, self._files, luci_src)
        self._bus.on_connection(self._connection_changed)
        self._lost_bus = False
        self._runner: web.AppRunner | None = None
        self.slots = ScriptSlots()
        self._listening = Listening()
        self.url = ""
        self.shown_url = ""

    async def start(self, host: str | Listening = LOOPBACK, port: int = 0) -> None:
        """Connect to the bus and serve; ``url`` is where programs on this machine find it, ``shown_url``
        where browsers do.
        """
        await self._bus.start()
        # LuCI's client asks rpcd-mod-luci what the system can do before it shows any page.
        await self._bus.publish(Object("luci", [Method("getFeatures", _features, {})]))
        await self._bus.publish(Object("file", [Method("list", self._list_files, {"path": STRING})]))
        await self.open_port(host, port)

    async def open_port(self, host: str | Listening, port: int) -> None:
        """Serve; ``url`` is where. Where the bus was lost, it is connected again."""
        self._lost_bus = False
        self._listening = Listening.only(host) if isinstance(host, str) else host
        self._runner, port = await serve(self._handle, self._listening, port)
        self.url, self.shown_url = self._listening.local_url(port), self._listening.shown_url(port)

    async def stop(self) -> None:
        """Stop serving and leave the bus."""
        await self.close_port()
        await self._bus.close()

    async def close_port(self) -> None:
        """Stop serving, as uhttpd does at a restart."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """As `service uhttpd restart`: connections are cut, the port stays the same."""
        await self.close_port()
        await self.open_port(self._listening, urlsplit(self.url).port or 0)

    def _connection_changed(self, connected: bool) -> None:
        """Neither uhttpd nor LuCI in it connects again; the gateway connects for each request."""
        self._lost_bus |= not connected

    async def _list_files(self, call: Call) -> dict[str, Value]:
        """rpcd-mod-file's ``list`` for the folders of the pages: LuCI looks there for what packages add."""
        path = call.args.get("path")
        if not isinstance(path, str) or not path.startswith(f"/www{STATIC}"):
            raise StatusError(Status.PERMISSION_DENIED)
        names = self._files.names(path.removeprefix(f"/www{STATIC}"))
        return {"entries": [{"name": name, "type": "file"} for name in names]}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if (refused := too_large(request)) is not None:
            return refused
        try:
            if gateway.mounted(path):
                return await gateway.in_a_slot(self.slots, lambda: self._gateway.handle(request))
            if path == UBUS or path.startswith(f"{UBUS}/"):
                if self._lost_bus:
                    return no_bus(request)
                return await self._rpc.handle(request, path.removeprefix(UBUS))
            if path == UBUS_OF_LUCI and not self._lost_bus:
                return await gateway.in_a_slot(self.slots, lambda: self._rpc.handle(request, ""))
            if path == SCRIPT_NAME or path.startswith(f"{SCRIPT_NAME}/"):
                if self._lost_bus:
                    return gateway.silent()
                page = unquote(path.removeprefix(SCRIPT_NAME))
                return await gateway.in_a_slot(self.slots, lambda: self._pages.handle(request, page))
        except UbusError as error:
            return web.Response(status=502, text=f"The bus does not answer: {error}\n")
        if path == "/":
            return web.Response(status=302, headers={"Location": f"{SCRIPT_NAME}/"})
        if path == PEER_ADDRESS:
            return web.json_response({})
        if path == QR_PATH:
            return _qr_code(request)
        if path == "/favicon.ico":
            path = f"{STATIC}bootstrap/logo.svg"
        if path.startswith(STATIC):
            file = self._files.find(unquote(path.removeprefix(STATIC)))
            if file is not None:
                return web.Response(
                    body=file.read_bytes(),
                    content_type=TYPES[file.suffix],
                    charset=None if file.suffix == ".png" else "utf-8",
                    headers={"Cache-Control": "no-cache"},
                )
        return web.Response(status=404, text="Not Found\n")


async def _features(call: Call) -> dict[str, bool]:
    del call
    return {"firewall": False, "opkg": True, "rpcd": True}


def _qr_code(request: web.Request) -> web.Response:
    """Draw the QR code that the stand-in of LuCI's QR library asks for."""
    try:
        scale = min(max(int(request.query.get("scale", "1")), 1), 16)
        code = segno.make_qr(request.query.get("data", ""), error="l", boost_error=False)
    except ValueError:
        return web.Response(status=400, text="Data too long\n")
    svg = code.svg_inline(scale=scale, border=1, light="white", dark="black")
    return web.Response(text=svg, content_type="image/svg+xml")
