"""LuCI's pages below ``/cgi-bin/luci``: login, log-out, menu, translations, and the page around each view."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulator.browser_front import menu, sessions
from simulator.browser_front.message_catalog import MessageCatalog
from simulator.browser_front.sessions import SCRIPT_NAME, Session, Sessions
from simulator.browser_front.staged_changes import StagedChanges
from simulator.browser_front.static_files import APPLICATION, STANDIN, StaticFiles
from ubus_py import Client, StatusError

LANGUAGES: Final = ("en", "it")
MEDIA: Final = "/luci-static/bootstrap"
RESOURCE: Final = "/luci-static/resources"

TEMPLATES: Final = APPLICATION / "root/usr/share/ucode/luci/template"
"""The app's own templates: what they use of ucode's syntax is the same in Jinja."""

NOT_FOUND: Final = ("Not Found", "No page is registered here, or your login may not see it.")
NOT_SIMULATED: Final = ("Not Found", "This page is not part of the simulated router.")


@cache
def _italian(luci_src: Path | None) -> MessageCatalog:
    """Read once by this process, for all its simulated routers."""
    base = [] if luci_src is None else [luci_src / "modules/luci-base/po/it/base.po"]
    return MessageCatalog([*base, STANDIN / "it.po", *sorted(APPLICATION.glob("po/it/*.po"))], "it")


class Pages:
    """Answers everything below ``/cgi-bin/luci``."""

    def __init__(self, bus: Client, root: Path, files: StaticFiles, luci_src: Path | None) -> None:
        self._bus = bus
        self._root = root
        self._files = files
        self._luci_src = luci_src
        self._sessions = Sessions(bus)
        self._changes = StagedChanges(bus)
        self._templates = Environment(
            loader=FileSystemLoader([Path(__file__).parent / "templates", TEMPLATES]),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._catalogs = {"en": MessageCatalog([], "en"), "it": _italian(luci_src)}

    async def handle(self, request: web.Request, tail: str) -> web.Response:
        """Answer one request; ``tail`` is its path after ``/cgi-bin/luci``."""
        path = [part for part in tail.split("/") if part]
        language = await self._language(request)
        if path[:2] == ["admin", "translations"]:
            chosen = path[2] if len(path) > 2 and path[2] in self._catalogs else language
            return web.Response(text=self._catalogs[chosen].script(), content_type="application/javascript")
        session = await self._sessions.of(request)
        if session is None:
            if path == ["admin", "menu"]:
                return web.json_response(self._tree({}))
            return await self._login(request, path, language)
        if path == ["admin", "logout"]:
            await self._sessions.logout(session)
            response = _redirect(f"{SCRIPT_NAME}/")
            sessions.clear_cookie(response)
            return response
        if path[:2] == ["admin", "uci"] and request.method == "POST":
            return await self._changes.handle(request, path[2:], session)
        tree = self._tree(session.groups)
        if path == ["admin", "menu"]:
            return web.json_response(tree)
        found = menu.resolve(tree, path)
        if found is None:
            return await self._error(language, 404, *NOT_FOUND)
        node, names = found
        if _template_of(node["action"]) is None:
            return await self._error(language, 404, *NOT_SIMULATED)
        return await self._view(language, session, node, path, names)

    def _tree(self, groups: Any) -> menu.Node:
        files = sorted((self._root / "usr/share/luci/menu.d").glob("*.json"))
        tree = menu.load_tree([Path(__file__).parent / "menu.json", *files], self._root)
        return menu.for_groups(tree, groups)

    async def _login(self, request: web.Request, path: list[str], language: str) -> web.Response:
        username, failed = "root", False
        if request.method == "POST":
            form = await request.post()
            username = str(form.get("luci_username", ""))
            session = await self._sessions.login(username, str(form.get("luci_password", "")))
            if session is not None:
                response = _redirect("/".join([SCRIPT_NAME, *path]) if path else f"{SCRIPT_NAME}/")
                sessions.set_cookie(response, session)
                return response
            failed = True
        response = await self._render(
            "login.html", language, "Authorization Required", 403, username=username, failed=failed, env=None
        )
        response.headers["X-LuCI-Login-Required"] = "yes"
        return response

    async def _view(
        self, language: str, session: Session, node: menu.Node, requested: list[str], names: list[str]
    ) -> web.Response:
        nodespec = {key: value for key, value in node.items() if key != "children"}
        env = {
            "media": MEDIA,
            "resource": RESOURCE,
            "scriptname": SCRIPT_NAME,
            "pathinfo": "/" + "/".join(requested),
            "documentroot": "/www",
            "requestpath": requested,
            "dispatchpath": names,
            "pollinterval": 5,
            "ubuspath": "/ubus/",
            "sessionid": session.id,
            "token": session.token,
            "nodespec": nodespec,
            "apply_rollback": 90,
            "apply_holdoff": 1,
            "apply_timeout": 5,
            "apply_display": 1,
            "rollback_token": None,
            "preload": self._files.preloads(),
        }
        template = str(_template_of(node["action"]))
        title = node.get("title", "")
        return await self._render(template, language, title, 200, env=env, view=node["action"].get("path"))

    async def _error(self, language: str, status: int, title: str, message: str) -> web.Response:
        return await self._render("error.html", language, title, status, message=message, env=None)

    async def _render(
        self, template: str, language: str, title: str, status: int, **values: Any
    ) -> web.Response:
        page = self._templates.get_template(template).render(
            lang=language,
            title=title,
            hostname=await self._hostname(),
            media=MEDIA,
            resource=RESOURCE,
            pkgs_update_time="simulated",
            script_name=SCRIPT_NAME,
            real_luci=self._luci_src is not None,
            _=self._catalogs[language].translate,
            **values,
        )
        return web.Response(
            status=status, text=page, content_type="text/html", headers={"Cache-Control": "no-cache"}
        )

    async def _hostname(self) -> str:
        try:
            return str((await self._bus.call("system", "board", {})).get("hostname", "OpenWrt"))
        except StatusError:
            return "OpenWrt"

    async def _language(self, request: web.Request) -> str:
        """LuCI's choice: ``luci.main.lang``; where that is ``auto``, the browser's first that we have."""
        try:
            setting = await self._bus.call(
                "uci", "get", {"config": "luci", "section": "main", "option": "lang"}
            )
        except StatusError:
            setting = {}
        chosen = str(setting.get("value", "auto"))
        if chosen in self._catalogs:
            return chosen
        for tag in request.headers.get("Accept-Language", "").split(","):
            primary = re.split(r"[-;]", tag.strip())[0].lower()
            if primary in self._catalogs:
                return primary
        return "en"


def _template_of(action: Mapping[str, Any]) -> str | None:
    """LuCI's template around a view, or the app's own."""
    if action.get("type") == "view":
        return "view.html"
    own = f"{action['path']}.ut" if action.get("type") == "template" else ""
    return own if (TEMPLATES / own).is_file() else None


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})
