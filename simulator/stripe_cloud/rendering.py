"""From the ledger to an answer: `expand`, included lists, list pagination and filters.

Which fields can be expanded is not written down here: the SDK annotates them (`ExpandableField[...]`).
Fields that exist only when asked for (`line_items` of a session, …) register themselves with `included`.
Sources: https://docs.stripe.com/api/expanding_objects, https://docs.stripe.com/api/pagination
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import resource_shapes
from .account import Account
from .api_errors import Json, invalid, resource_missing
from .json_copy import copied

MAX_EXPAND_DEPTH = 4
DEFAULT_LIMIT = 10
MAX_LIMIT = 100

Provider = Callable[[Account, Json], Any]
_INCLUDED: dict[tuple[str, str], Provider] = {}


def included(kind: str, field: str) -> Callable[[Provider], Provider]:
    """Register what `expand[]=field` adds to objects of `kind`."""

    def register(provider: Provider) -> Provider:
        _INCLUDED[kind, field] = provider
        return provider

    return register


def render(account: Account, obj: Json, expand: Iterable[str] = ()) -> Json:
    """A copy of `obj` to send, with the `expand` paths filled in; 400 for a path that cannot be expanded."""
    answer = copied(obj)
    shape = resource_shapes.resource_class(obj["object"])
    for path in expand:
        steps = path.split(".")
        if len(steps) > MAX_EXPAND_DEPTH:
            raise invalid(
                f"You cannot expand more than {MAX_EXPAND_DEPTH} levels of a property. Property: {path}",
                code="property_expansion_max_depth",
                param="expand",
            )
        _expand(account, answer, shape, steps, path)
    return answer


def list_of(data: list[Any], url: str, *, has_more: bool = False) -> Json:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page(account: Account, candidates: Iterable[Json], params: Json, url: str) -> Json:
    """A list answer from objects newest first: `limit`, `starting_after`, `ending_before`, `created`."""
    owner = account.find(params.get("customer"))
    if owner is not None and owner.get("deleted") and not account.settings["lists_of_deleted_customers"]:
        raise resource_missing("customer", owner["id"], param="customer")
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(
            f"This value must be between 1 and {MAX_LIMIT}.", param="limit", code="parameter_invalid_integer"
        )
    if "starting_after" in params and "ending_before" in params:
        raise invalid("Received both starting_after and ending_before parameters. Please pass in only one.")
    rows = [row for row in candidates if within(row.get("created", 0), params.get("created"))]
    ids = [row["id"] for row in rows]
    if after := params.get("starting_after"):
        rows = rows[_cursor(account, ids, after, "starting_after") + 1 :]
        chosen, more = rows[:limit], len(rows) > limit
    elif before := params.get("ending_before"):
        rows = rows[: _cursor(account, ids, before, "ending_before")]
        chosen, more = rows[-limit:], len(rows) > limit
    else:
        chosen, more = rows[:limit], len(rows) > limit
    answer = list_of([copied(row) for row in chosen], url, has_more=more)
    expand_list(account, answer, params.get("expand", []))
    return answer


def expand_list(account: Account, answer: Json, expand: Iterable[str]) -> None:
    """`expand[]=data.customer` on a list (or a search result)."""
    for path in expand:
        head, _, rest = path.partition(".")
        if head != "data" or not rest:
            raise invalid(
                f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}' "
                f"instead."
            )
        for index, row in enumerate(answer["data"]):
            answer["data"][index] = _merge(row, render(account, row, [rest]))


def within(value: int | None, bounds: Any) -> bool:
    """A timestamp against `created=N` or `created[gte]=N…`; everything passes without bounds."""
    if bounds is None:
        return True
    if value is None:
        return False
    if isinstance(bounds, int):
        return value == bounds
    return bool(
        value > bounds.get("gt", value - 1)
        and value >= bounds.get("gte", value)
        and value < bounds.get("lt", value + 1)
        and value <= bounds.get("lte", value)
    )


def _cursor(account: Account, ids: list[str], cursor: str, param: str) -> int:
    if cursor in ids:
        return ids.index(cursor)
    known = account.find(cursor)
    kind = known["object"] if known else "object"
    raise invalid(f"No such {kind}: '{cursor}'", param=param, code="resource_missing")


def _merge(old: Json, new: Json) -> Json:
    old.update(new)
    return old


def _expand(account: Account, node: Any, shape: type | None, steps: list[str], path: str) -> None:
    if node is None or shape is None:
        return
    if isinstance(node, list):
        for item in node:
            _expand(account, item, shape, steps, path)
        return
    if isinstance(node, str):
        raise _cannot(path)
    if node.get("object") == "list":
        if steps[0] != "data":
            raise _cannot(path)
        for item in node["data"]:
            _expand(account, item, shape, steps[1:], path)
        return
    if node.get("deleted"):
        return
    name, rest = steps[0], steps[1:]
    provider = _INCLUDED.get((str(node.get("object")), name))
    if provider is not None and name not in node:
        node[name] = copied(provider(account, node))
    annotation = resource_shapes.fields(shape).get(name)
    if annotation is None:
        raise _cannot(path)
    can = resource_shapes.expandable(annotation)
    if can:
        node[name] = _fetched(account, node.get(name))
    elif not rest and provider is None:
        raise _cannot(path)
    if rest:
        _expand(account, node.get(name), _shape(node.get(name), annotation), rest, path)


def _shape(value: Any, annotation: Any) -> type | None:
    if isinstance(value, dict) and isinstance(value.get("object"), str) and value["object"] != "list":
        return resource_shapes.resource_class(value["object"])
    return resource_shapes.shape_of(annotation)


def _fetched(account: Account, value: Any) -> Any:
    if isinstance(value, list):
        return [_fetched(account, item) for item in value]
    if isinstance(value, str):
        found = account.find(value)
        return copied(found) if found is not None else value
    return value


def _cannot(path: str) -> Exception:
    return invalid(f"This property cannot be expanded ({path}).", param="expand")
