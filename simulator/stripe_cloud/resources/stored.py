"""Handlers that are the same for many resources: one object by its id, and the list of them, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import search
from ..account import Account
from ..api_errors import Json
from ..rendering import page

Handler = Callable[..., Json]


def retrieve(kind: str, *, param: str = "id") -> Handler:
    """The handler of `GET /v1/…/ID`; `param` is what Stripe names in the error for an unknown id."""

    def handler(account: Account, _params: Json, object_id: str) -> Json:
        return account.get(kind, object_id, param=param)

    return handler


def list_all(kind: str, path: str, *filters: str) -> Handler:
    """The handler of `GET path`; `filters` name the parameters that are compared with the objects' fields."""

    def handler(account: Account, params: Json) -> Json:
        return page(account, matching(account, kind, params, *filters), params, path)

    return handler


def search_all(kind: str, path: str) -> Handler:
    """The handler of `GET path/search`."""

    def handler(account: Account, params: Json) -> Json:
        return search.search(account, kind, params, f"{path}/search")

    return handler


def matching(account: Account, kind: str, params: Json, *filters: str) -> Iterator[Json]:
    """The objects, newest first, whose fields equal those of `filters` that were given."""
    wanted = {name: params[name] for name in filters if name in params}
    for row in account.newest_first(kind):
        if all(row[name] == value for name, value in wanted.items()):
            yield row
