"""The console's routes, and what all of its pages have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments_hub import audit
from payments_hub.attempt_limits import AttemptLimits
from payments_hub.console.actions import ACTIONS
from payments_hub.console.pages import HEADERS, Pages, stylesheet
from payments_hub.console.visits import (
    LANGUAGE,
    LOGIN,
    SESSION,
    Visit,
    local_path,
    locale_of,
    new_secret,
    read_form,
    set_cookie,
)
from payments_hub.errors import HubError, VendorError
from payments_hub.hub import Hub
from payments_hub.metrics import metrics_route
from payments_hub.operations import Operations
from payments_hub.operators import ROLES, Operators
from payments_hub.texts import Text, _
from stripe_payments.errors import PaymentError
from stripe_payments.log import Log

__all__ = ["create_console"]

_log = Log("console")

_STATUS: Final[Mapping[str, int]] = {
    "unknown_router": 404,
    "unknown_operator": 404,
    "form_expired": 403,
    "form_too_large": 413,
    "not_allowed": 403,
    "not_found": 404,
}
_LANGUAGE_HOURS: Final = 24 * 365.0

_Page = Callable[["_Console", Visit], Awaitable[Response]]


def create_console(hub: Hub) -> Starlette:
    """The application of an open hub, for a listener that only operators reach."""
    console = _Console(hub)
    pages: list[tuple[str, str, _Page, str]] = [
        ("GET", "/console/login", _Console.login_form, "anybody"),
        ("POST", "/console/login", _Console.log_in, "anybody"),
        ("POST", "/console/logout", _Console.log_out, "support"),
        ("GET", "/console", _Console.routers, "support"),
        ("GET", "/console/routers/{router}", _Console.router, "support"),
        ("POST", "/console/routers/{router}/sync", _Console.sync, "support"),
        ("GET", "/console/routers/{router}/{action}", _Console.action_form, "admin"),
        ("POST", "/console/routers/{router}/{action}", _Console.perform, "admin"),
        ("GET", "/console/codes", _Console.codes, "admin"),
        ("POST", "/console/codes", _Console.create_code, "admin"),
        ("GET", "/console/password", _Console.password_form, "support"),
        ("POST", "/console/password", _Console.change_password, "support"),
        ("GET", "/console/operators", _Console.operators, "admin"),
        ("POST", "/console/operators", _Console.change_operators, "admin"),
        ("GET", "/console/operators/{name}/disable", _Console.disable_form, "admin"),
        ("POST", "/console/operators/{name}/disable", _Console.disable, "admin"),
        ("GET", "/console/audit", _Console.audit, "admin"),
    ]

    async def start(_request: Request) -> Response:
        return RedirectResponse("/console", 303)

    async def missing(request: Request, _error: Exception) -> Response:
        return console.error(request, _not_found())

    app = Starlette(
        routes=[
            Route("/", start),
            metrics_route(hub.database),
            Route("/console/style.css", stylesheet),
            *[Route(path, console.page(page, role), methods=[verb]) for verb, path, page, role in pages],
        ],
        exception_handlers={404: missing, 405: missing},
    )
    app.router.redirect_slashes = False  # the address would be made from the caller's Host
    return app


class _Console:
    """One method for each page."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pages = Pages()
        self._operators = Operators(hub.database)
        self._limits = AttemptLimits(hub.database)

    def page(self, page: _Page, role: str) -> Callable[[Request], Awaitable[Response]]:
        """The page for who may see it; `role`: the least that is needed. Errors are pages, too."""

        async def answer(request: Request) -> Response:
            try:
                response = await self._answer(request, page, role)
            except VendorError as error:
                response = self.error(request, error)
            except (PaymentError, HubError) as error:
                response = self.error(request, _of_payments(error), error.http_status)
            except (psycopg.Error, PoolTimeout) as error:
                _log.error("database failed", path=request.url.path, reason=type(error).__name__)
                response = self.error(request, _database(), 503)
            except Exception as error:  # noqa: BLE001 - the trace is for the log, never for the browser
                _log.error("page failed", path=request.url.path, exc=error)
                response = self.error(request, _of_payments(PaymentError("internal_error")), 500)
            if (chosen := request.query_params.get("lang")) in ("en", "it"):
                set_cookie(request, response, LANGUAGE, str(chosen), hours=_LANGUAGE_HOURS)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer

    def error(self, request: Request, error: VendorError, status: int | None = None) -> Response:
        """What happened and what can be done about it."""
        content = {"visit": getattr(request.state, "visit", None), "error": error, "path": request.url.path}
        status = status or _STATUS.get(error.code, 409)
        return self._pages.render("error.html", locale_of(request), content, status)

    async def _answer(self, request: Request, page: _Page, role: str) -> Response:
        locale = locale_of(request)
        form = await read_form(request) if request.method == "POST" else {}
        if role == "anybody":
            visit = Visit(request, locale, request.cookies.get(LOGIN) or new_secret(), form=form)
        else:
            secret = request.cookies.get(SESSION, "")
            operator = await self._operators.of_session(secret) if secret else None
            if operator is None:
                here = request.url.path if request.method == "GET" else "/console"
                return RedirectResponse(f"/console/login?next={quote(here)}", 303)
            visit = request.state.visit = Visit(request, locale, secret, operator, form)
            if role == "admin" and not operator.is_admin:
                raise _not_allowed()
        if request.method == "POST":
            visit.check_token()
        return await page(self, visit)

    def _render(
        self, template: str, visit: Visit, content: Mapping[str, Any] | None = None, status: int = 200
    ) -> Response:
        shown = {"visit": visit, "path": visit.request.url.path, **(content or {})}
        return self._pages.render(template, visit.locale, shown, status)

    def _vendor(self, visit: Visit) -> Operations:
        assert visit.operator is not None, "pages that operate need a role"
        return Operations(self._hub, visit.operator.name)

    # -- who is there -------------------------------------------------------------------------------

    async def login_form(self, visit: Visit, problem: Text | None = None, status: int = 200) -> Response:
        content = {"problem": problem, "next": local_path(visit.field("next")), "name": visit.field("name")}
        response = self._render("login.html", visit, content, status)
        set_cookie(visit.request, response, LOGIN, visit.secret)
        return response

    async def log_in(self, visit: Visit) -> Response:
        name = visit.field("name").lower()
        client = visit.request.client
        wait = await self._limits.take("name", name[:64])
        wait = wait or await self._limits.take("address", client.host if client is not None else "")
        if wait:
            problem = _("Too many attempts: try again in {seconds} seconds.", seconds=wait)
            response = await self.login_form(visit, problem, 429)
            response.headers["Retry-After"] = str(wait)
            return response
        secret = await self._operators.log_in(name, visit.form.get("password", ""))
        if secret is None:
            # a name that does not exist may be a password in the wrong field
            known = any(one["name"] == name for one in await self._operators.all())
            await audit.record(self._hub.database, name if known else "?", "log_in", outcome="refused")
            return await self.login_form(visit, _("Wrong name or password."), 403)
        await audit.record(self._hub.database, name, "log_in")
        response = RedirectResponse(local_path(visit.field("next")), 303)
        set_cookie(visit.request, response, SESSION, secret)
        set_cookie(visit.request, response, LOGIN, "")
        return response

    async def log_out(self, visit: Visit) -> Response:
        await self._operators.log_out(visit.secret)
        response = RedirectResponse("/console/login", 303)
        set_cookie(visit.request, response, SESSION, "")
        return response

    async def password_form(self, visit: Visit) -> Response:
        return self._render("password.html", visit)

    async def change_password(self, visit: Visit) -> Response:
        assert visit.operator is not None
        name = visit.operator.name
        if wait := await self._limits.take("name", name):
            raise VendorError(
                "too_many_attempts",
                _("Too many attempts: try again in {seconds} seconds.", seconds=wait),
                _("An administrator can set a new password for you."),
            )
        if visit.form.get("password") != visit.form.get("again"):
            raise VendorError(
                "passwords_differ", _("The two new passwords differ."), _("Enter the same one twice.")
            )
        checked = await self._operators.log_in(name, visit.form.get("current", ""))
        if checked is None:
            raise VendorError("wrong_password", _("The current password is wrong."), _("Enter it again."))
        await self._vendor(visit).set_password(name, visit.form.get("password", ""))
        response = RedirectResponse("/console/login", 303)
        set_cookie(visit.request, response, SESSION, "")
        return response

    # -- routers ------------------------------------------------------------------------------------

    async def routers(self, visit: Visit) -> Response:
        text = visit.field("q")
        problem, found = None, []
        try:
            found = await self._vendor(visit).find(text, _LISTED + 1)
        except VendorError as error:
            problem = error
        content = {"q": text, "problem": problem, "routers": found[:_LISTED], "more": len(found) > _LISTED}
        return self._render("routers.html", visit, content)

    async def router(self, visit: Visit) -> Response:
        vendor = self._vendor(visit)
        router = await vendor.show(_router(visit), visit.locale)
        entries = await audit.latest(self._hub.database, 20, subject=router["id"])
        done = ACTIONS.get(visit.field("done"))
        content = {"router": router, "entries": entries, "done": done.title if done else None}
        return self._render("router.html", visit, content)

    async def sync(self, visit: Visit) -> Response:
        await self._vendor(visit).sync(_router(visit))
        return RedirectResponse(f"/console/routers/{_router(visit)}", 303)

    async def action_form(self, visit: Visit) -> Response:
        """What will happen, and the form that confirms it."""
        name = visit.request.path_params["action"]
        if name not in ACTIONS:
            raise _not_found()
        router = await self._vendor(visit).show(_router(visit), visit.locale)
        payment = next((one for one in router["transactions"] if one["id"] == visit.field("payment")), None)
        if name == "refund" and payment is None:
            raise _not_found()
        content = {
            "action": ACTIONS[name],
            "router": router,
            "payment": payment,
            "chosen": visit.field("feature") or visit.field("flag"),
        }
        return self._render("action.html", visit, content)

    async def perform(self, visit: Visit) -> Response:
        name = visit.request.path_params["action"]
        if name not in ACTIONS:
            raise _not_found()
        action, vendor = ACTIONS[name], self._vendor(visit)
        if "confirm" in action.fields and visit.field("confirm") != _router(visit)[:8]:
            raise VendorError(
                "not_confirmed",
                _("What you entered is not the beginning of the router's id: nothing was done."),
                _("Enter its first eight characters."),
            )
        router = await vendor.show(_router(visit), visit.locale)
        made = await action.perform(vendor, router, visit.field)
        if made is not None:
            return self._render("code.html", visit, {"made": made})
        if name == "forget":
            return RedirectResponse("/console", 303)
        return RedirectResponse(f"/console/routers/{_router(visit)}?done={name}", 303)

    async def codes(self, visit: Visit) -> Response:
        return self._render("codes.html", visit)

    async def create_code(self, visit: Visit) -> Response:
        vendor, note = self._vendor(visit), visit.field("note")[:_LONGEST_NOTE]
        days = visit.field("days")
        if not days.isdecimal() or not 1 <= int(days) <= _LONGEST_DAYS:
            raise VendorError(
                "invalid_days",
                _("“{days}” is not a number of days.", days=days),
                _("Enter a number between 1 and {most}.", most=_LONGEST_DAYS),
            )
        make = vendor.create if visit.field("prepare") else vendor.create_code
        return self._render("code.html", visit, {"made": await make(note, int(days))})

    # -- operators and audit ------------------------------------------------------------------------

    async def operators(self, visit: Visit) -> Response:
        content = {"operators": await self._operators.all(), "roles": ROLES}
        return self._render("operators.html", visit, content)

    async def change_operators(self, visit: Visit) -> Response:
        """Create an operator, or set the password of one that exists."""
        vendor, name = self._vendor(visit), visit.field("name").lower()
        password = visit.form.get("password", "")
        if visit.field("role"):
            await vendor.create_operator(name, visit.field("role"), password)
        else:
            await vendor.set_password(name, password)
        return RedirectResponse("/console/operators", 303)

    async def disable_form(self, visit: Visit) -> Response:
        return self._render("disable.html", visit, {"name": visit.request.path_params["name"]})

    async def disable(self, visit: Visit) -> Response:
        await self._vendor(visit).disable_operator(visit.request.path_params["name"])
        return RedirectResponse("/console/operators", 303)

    async def audit(self, visit: Visit) -> Response:
        before = visit.field("before")
        entries = await audit.latest(
            self._hub.database,
            _ENTRIES + 1,
            int(before) if before.isdecimal() and len(before) < 18 else None,
            visit.field("subject") or None,
        )
        content = {
            "entries": entries[:_ENTRIES],
            "more": len(entries) > _ENTRIES,
            "subject": visit.field("subject"),
        }
        return self._render("audit.html", visit, content)


_LISTED: Final = 50
_ENTRIES: Final = 100
_LONGEST_NOTE: Final = 200
_LONGEST_DAYS: Final = 3650


def _router(visit: Visit) -> str:
    return str(visit.request.path_params["router"])


def _of_payments(error: PaymentError | HubError) -> VendorError:
    """The same sentences."""
    if isinstance(error, HubError):
        entry = error.entry
        return VendorError(error.code, entry.message, entry.hint)
    return VendorError(error.code, _OfError(error.message_in), _OfError(error.hint_in))


class _OfError:
    """A sentence of a PaymentError."""

    def __init__(self, sentence: Callable[[str | None], str | None]) -> None:
        self._sentence = sentence

    def in_locale(self, locale: str | None) -> str:
        return self._sentence(locale) or ""


def _not_found() -> VendorError:
    return VendorError("not_found", _("There is no such page."), _("Start from the list of routers."))


def _not_allowed() -> VendorError:
    return VendorError(
        "not_allowed",
        _("Only an administrator may do that."),
        _("Support can find, show and sync routers. Contact an administrator for anything else."),
    )


def _database() -> VendorError:
    return VendorError(
        "database",
        _("The database does not answer."),
        _("Try again in a moment; “payments-hub doctor” says what is wrong."),
    )
