"""Stripe's request encoding: `application/x-www-form-urlencoded` with brackets.

`line_items[0][price]=price_1&metadata[a]=b&expand[]=x` becomes `{"line_items": {"0": {"price": "price_1"}},
"metadata": {"a": "b"}, "expand": ["x"]}`. Whether `{"0": …}` is a list or an object with the key "0" is not
visible in the encoding; the parameter's declared type decides (see `parameters`).  Values stay strings.
"""

from __future__ import annotations

import itertools
from urllib.parse import parse_qsl

from .api_errors import Json, invalid

MAX_DEPTH = 12
"""Deeper nesting than any Stripe parameter has; beyond it the request is refused."""

MAX_FIELDS = 4_000


def decode(encoded: str) -> Json:
    """Decode a query string or a form body; StripeApiError (400) when it contradicts itself."""
    decoded: Json = {}
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=False, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise invalid("Invalid request: too many parameters.") from None
    for name, value in pairs:
        _put(decoded, split_name(name), value, name)
    return decoded


def split_name(name: str) -> list[str]:
    """`a[b][0][]` → `["a", "b", "0", ""]`; the empty string stands for "next element"."""
    head, bracket, rest = name.partition("[")
    if not bracket:
        return [head]
    if not head or not rest.endswith("]"):
        raise invalid(f"Invalid parameter name: {name}", param=name)
    parts = [head, *rest[:-1].split("][")]
    if len(parts) > MAX_DEPTH or any("[" in part or "]" in part for part in parts):
        raise invalid(f"Invalid parameter name: {name}", param=name)
    return parts


def join_name(path: list[str]) -> str:
    """The inverse of `split_name`: the spelling of `param` in an error body."""
    return path[0] + "".join(f"[{part}]" for part in path[1:]) if path else ""


def _put(target: Json, path: list[str], value: str, name: str) -> None:
    node = target
    for here, following in itertools.pairwise(path):
        if following == "":
            if len(path) != path.index(here) + 2:
                raise invalid(f"Invalid parameter name: {name}", param=name)
            node = node.setdefault(here, [])
            if not isinstance(node, list):
                raise invalid(f"Invalid array: {name}", param=name)
            node.append(value)
            return
        node = node.setdefault(here, {})
        if not isinstance(node, dict):
            raise invalid(f"Invalid object: {name}", param=name)
    if isinstance(node.get(path[-1]), dict | list):
        raise invalid(f"Invalid parameter: {name}", param=name)
    node[path[-1]] = value
