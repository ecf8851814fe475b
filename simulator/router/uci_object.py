"""The ubus object ``uci``: rpcd's way into the configurations, as its uci.c answers.

Without ``ubus_rpc_session`` nothing is checked and changes are staged for everybody; with it the session
needs ``read`` or ``write`` of the configuration in the scope ``uci`` and has a staging area of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.router.rollback import Rollback
from simulator.router.sessions import Sessions
from simulator.router.uci_editor import NotStorableError, UciEditor, as_text
from simulator.router.uci_file import OptionValue, Package, Section, UciError, is_name
from simulator.router.uci_store import NoSuchConfigError, UciStore
from ubus_py import ARRAY, BOOLEAN, INT32, STRING, TABLE, Call, Method, Object, Status, StatusError, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLY_TIMEOUT_S = 60
_TYPE = re.compile(r"[A-Za-z0-9_-]+")
_EXTENDED = re.compile(r"@[A-Za-z0-9_-]*\[\s*[+-]?\d+\]")

_SESSION = {"ubus_rpc_session": STRING}
_FIND = {"config": STRING, "section": STRING, "option": STRING, "type": STRING, "match": TABLE, **_SESSION}
_CONFIG = {"config": STRING, **_SESSION}

Reply = dict[str, Value]


class UciObject:
    """``changed`` is called with the name of every configuration that a commit wrote."""

    def __init__(
        self, store: UciStore, sessions: Sessions, rollback: Rollback, changed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._rollback = rollback
        self._changed = changed

    def object(self) -> Object:
        """The object to publish."""
        values = {"values": TABLE, **_SESSION}
        find = {"config": STRING, "section": STRING, "type": STRING, "match": TABLE}
        return Object(
            "uci",
            [
                Method("configs", self._configs),
                Method("get", self._get, _FIND),
                Method("state", self._get, _FIND),
                Method("add", self._add, {"config": STRING, "type": STRING, "name": STRING, **values}),
                Method("set", self._set, {**find, **values}),
                Method("delete", self._delete, {**find, "option": STRING, "options": ARRAY, **_SESSION}),
                Method(
                    "rename",
                    self._rename,
                    {"config": STRING, "section": STRING, "option": STRING, "name": STRING, **_SESSION},
                ),
                Method("order", self._order, {"config": STRING, "sections": ARRAY, **_SESSION}),
                Method("changes", self._changes, _CONFIG),
                Method("revert", self._revert, _CONFIG),
                Method("commit", self._commit, _CONFIG),
                Method("apply", self._apply, {"rollback": BOOLEAN, "timeout": INT32, **_SESSION}),
                Method("confirm", self._confirm, _SESSION),
                Method("rollback", self._roll_back, _SESSION),
                Method("reload_config", self._reload_config),
            ],
            raw_text=True,
        )

    # --- reading

    async def _configs(self, call: Call) -> Reply:
        return {"configs": list(self._store.configs())}

    async def _get(self, call: Call) -> Reply | None:
        with _as_status():
            package = self._load(call, "read")
            name = _text(call, "section")
            if name is None:
                return {"values": _described(package, lambda section: _matches(section, call))}
            section = _found(package, name)
            if section is None:
                return None
            option = _text(call, "option")
            if option is None:
                return {"values": _describe(section)}
            value = section.options.get(option)
            return None if value is None else {"value": _wire(value)}

    async def _changes(self, call: Call) -> Reply:
        with _as_status():
            config = _text(call, "config")
            session = _session(call)
            if config is not None:
                self._allow(call, config, "read")
                self._store.load(config, staged=False)
                return {"changes": self._reported(config, session)}
            table: dict[str, Value] = {}
            for name in self._store.configs():
                if session is not None and not self._sessions.allows(session, "uci", name, "read"):
                    continue
                rows = self._reported(name, session)
                if rows:
                    table[name] = rows
            return {"changes": table}

    def _reported(self, config: str, session: str | None) -> list[Value]:
        return [list(change.report()) for change in self._store.staged(config, session)]

    # --- staging

    async def _add(self, call: Call) -> Reply:
        with _as_status():
            section_type, name = _text(call, "type"), _text(call, "name")
            if section_type is None or _text(call, "config") is None:
                raise StatusError(Status.INVALID_ARGUMENT)
            config = self._allowed_config(call, "write")
            if not _TYPE.fullmatch(section_type) or (name is not None and not is_name(name)):
                raise StatusError(Status.INVALID_ARGUMENT)
            editor = UciEditor(self._store.load(config, _session(call)))
            section = editor.add(section_type, name)
            for option, value in _table(call, "values").items():
                if not is_name(option):
                    raise StatusError(Status.INVALID_ARGUMENT)
                items = value if isinstance(value, list) else None
                if items is None:
                    editor.set(section, option, as_text(value))
                for item in items or ():
                    editor.append(section, option, as_text(item))
            self._store.stage(config, editor.changes, _session(call))
            return {"section": section.name}

    async def _set(self, call: Call) -> None:
        with _as_status():
            if "values" not in call.args or not call.args.keys() & {"section", "type", "match"}:
                raise StatusError(Status.INVALID_ARGUMENT)
            config = self._allowed_config(call, "write")
            values = _table(call, "values")
            editor, sections = self._edit(call, config)
            outcomes = [
                self._put(editor, section, option, value)
                for section in sections
                for option, value in values.items()
            ]
            failures = [status for status in outcomes if status is not Status.OK]
            if failures or not outcomes:
                raise StatusError(failures[-1] if failures else Status.NOT_FOUND)
            self._store.stage(config, editor.changes, _session(call))

    @staticmethod
    def _put(editor: UciEditor, section: Section | None, option: str, value: Value) -> Status:
        if not is_name(option):
            return Status.INVALID_ARGUMENT
        if section is None:
            return Status.NOT_FOUND
        try:
            editor.replace(section, option, value)
        except NotStorableError:
            return Status.INVALID_ARGUMENT
        return Status.OK

    async def _delete(self, call: Call) -> None:
        with _as_status():
            if not call.args.keys() & {"section", "type", "match"}:
                raise StatusError(Status.INVALID_ARGUMENT)
            config = self._allowed_config(call, "write")
            section_type = _text(call, "type")
            if section_type is not None and not _TYPE.fullmatch(section_type):
                raise StatusError(Status.INVALID_ARGUMENT)
            editor, sections = self._edit(call, config)
            if not sections:
                raise StatusError(Status.NOT_FOUND)
            failed = None
            for section in sections:
                failed = None if self._delete_from(editor, section, call) else Status.NOT_FOUND
            if failed is not None:
                raise StatusError(failed)
            self._store.stage(config, editor.changes, _session(call))

    @staticmethod
    def _delete_from(editor: UciEditor, section: Section | None, call: Call) -> bool:
        if section is None:
            return False
        options = call.args.get("options")
        if isinstance(options, list):
            names = [name for name in options if isinstance(name, str)]
        elif (option := _text(call, "option")) is not None:
            names = [option]
        else:
            editor.remove(section)
            return True
        present = [name for name in dict.fromkeys(names) if name in section.options]
        for name in present:
            editor.unset(section, name)
        return bool(present)

    async def _rename(self, call: Call) -> None:
        with _as_status():
            section_name, new, option = _text(call, "section"), _text(call, "name"), _text(call, "option")
            if section_name is None or new is None:
                raise StatusError(Status.INVALID_ARGUMENT)
            config = self._allowed_config(call, "write")
            if not is_name(new):
                raise StatusError(Status.INVALID_ARGUMENT)
            editor = UciEditor(self._store.load(config, _session(call)))
            section = editor.package.section(section_name)
            if section is None or (option is not None and option not in section.options):
                return  # rpcd forgets this error while it cleans up
            editor.rename(section, option, new)
            self._store.stage(config, editor.changes, _session(call))

    async def _order(self, call: Call) -> None:
        with _as_status():
            names = call.args.get("sections")
            if not isinstance(names, list):
                raise StatusError(Status.INVALID_ARGUMENT)
            config = self._allowed_config(call, "write")
            editor = UciEditor(self._store.load(config, _session(call)))
            for position, name in enumerate(names):
                if not isinstance(name, str):
                    raise StatusError(Status.INVALID_ARGUMENT)
                section = editor.package.section(name)
                if section is None:
                    raise StatusError(Status.NOT_FOUND)
                editor.move(section, position)
            self._store.stage(config, editor.changes, _session(call))

    def _edit(self, call: Call, config: str) -> tuple[UciEditor, list[Section | None]]:
        """The sections a ``set`` or ``delete`` is about; None stands for a named one that is not there."""
        name = _text(call, "section")
        if name is not None and not (is_name(name) or _EXTENDED.fullmatch(name)):
            raise StatusError(Status.INVALID_ARGUMENT)
        editor = UciEditor(self._store.load(config, _session(call)))
        if name is not None:
            return editor, [_found(editor.package, name)]
        return editor, [section for section in editor.package.sections if _matches(section, call)]

    # --- finishing

    async def _revert(self, call: Call) -> None:
        self._refuse_while_pending()
        with _as_status():
            self._store.revert(self._allowed_config(call, "write"), _session(call))

    async def _commit(self, call: Call) -> None:
        self._refuse_while_pending()
        with _as_status():
            config = self._allowed_config(call, "write")
            self._store.commit(config, _session(call))
            self._changed(config)

    async def _apply(self, call: Call) -> None:
        timeout_s = call.args.get("timeout", APPLY_TIMEOUT_S)
        with _as_status():
            self._rollback.apply(
                _session(call),
                rollback=bool(call.args.get("rollback", False)),
                timeout_s=timeout_s if isinstance(timeout_s, int) else APPLY_TIMEOUT_S,
            )

    async def _confirm(self, call: Call) -> None:
        self._rollback.confirm(_session(call))

    async def _roll_back(self, call: Call) -> None:
        self._rollback.rollback(_session(call))

    async def _reload_config(self, call: Call) -> None:
        """All watchers of a configuration are notified at its commit."""

    def _refuse_while_pending(self) -> None:
        if self._rollback.pending:
            raise StatusError(Status.PERMISSION_DENIED)

    # --- access

    def _load(self, call: Call, permission: str) -> Package:
        return self._store.load(self._allowed_config(call, permission), _session(call))

    def _allowed_config(self, call: Call, permission: str) -> str:
        config = _text(call, "config")
        if config is None:
            raise StatusError(Status.INVALID_ARGUMENT)
        self._allow(call, config, permission)
        return config

    def _allow(self, call: Call, config: str, permission: str) -> None:
        session = _session(call)
        if session is not None and not self._sessions.allows(session, "uci", config, permission):
            raise StatusError(Status.PERMISSION_DENIED)


@contextmanager
def _as_status() -> Iterator[None]:
    """libuci's errors as rpcd reports them."""
    try:
        yield
    except NoSuchConfigError:
        raise StatusError(Status.NOT_FOUND) from None
    except NotStorableError:
        raise StatusError(Status.INVALID_ARGUMENT) from None
    except UciError as error:
        raise StatusError(Status.INVALID_ARGUMENT if not error.in_file else Status.UNKNOWN_ERROR) from None


def _found(package: Package, name: str) -> Section | None:
    """The section, or None: also for a malformed reference, whose error rpcd forgets while it cleans up."""
    try:
        return package.find(name)
    except UciError:
        return None


def _text(call: Call, name: str) -> str | None:
    value = call.args.get(name)
    return value if isinstance(value, str) else None


def _session(call: Call) -> str | None:
    return _text(call, "ubus_rpc_session")


def _table(call: Call, name: str) -> Mapping[str, Value]:
    value = call.args.get(name)
    return value if isinstance(value, dict) else {}


def _wire(value: OptionValue) -> Value:
    return value if isinstance(value, str) else list(value)


def _describe(section: Section, index: int | None = None) -> dict[str, Value]:
    shown: dict[str, Value] = {".anonymous": section.anonymous, ".type": section.type, ".name": section.name}
    if index is not None:
        shown[".index"] = index
    shown.update((name, _wire(value)) for name, value in section.options.items())
    return shown


def describe_package(package: Package) -> dict[str, Value]:
    """Every section as ``uci get`` answers it for a whole configuration."""
    return _described(package, lambda section: True)


def _described(package: Package, wanted: Callable[[Section], bool]) -> dict[str, Value]:
    shown: dict[str, Value] = {}
    for index, section in enumerate(package.sections):
        if wanted(section):
            shown.setdefault(section.name, _describe(section, index))
    return shown


def _matches(section: Section, call: Call) -> bool:
    """Of the asked type, and every asked option that it has holds the asked value (and it has one of
    them)."""
    section_type = _text(call, "type")
    if section_type is not None and section.type != section_type:
        return False
    asked = {}
    for name, value in _table(call, "match").items():
        try:
            asked[name] = as_text(value)
        except NotStorableError:
            continue
    present = asked.keys() & section.options.keys()
    for name in present:
        held = section.options[name]
        items = held.split() if isinstance(held, str) else held
        if asked[name] not in items:
            return False
    return bool(present) or not asked
