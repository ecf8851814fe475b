"""LuCI's page tree: the JSON files of ``menu.d``, cut down to what a session's ACL groups reach.

The rules are LuCI's dispatcher's: a page ``depends`` on ACL groups; one group missing and the page is not
``satisfied``; all of them only for reading and it is ``readonly``. It may depend on files, too (``fs``; only
``absent`` is known here). A ``firstchild`` leads to its first page by order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

Node = dict[str, Any]

_FIELDS = ("action", "auth", "cors", "depends", "order", "title", "wildcard", "firstchild_ineligible")


def load_tree(files: Iterable[Path], root: Path) -> Node:
    """Merge menu files into one tree; later files add to earlier ones. ``root``: the router's ``/``."""
    tree: Node = {"action": {"type": "firstchild"}}
    for file in files:
        for path, spec in json.loads(file.read_text("utf-8")).items():
            node = tree
            for name in path.split("/"):
                if name == "*":
                    node["wildcard"] = True
                    break
                node = node.setdefault("children", {}).setdefault(name, {"satisfied": True})
            node.update({field: spec[field] for field in _FIELDS if field in spec})
            wanted = spec.get("depends", {}).get("fs", {})
            node["satisfied"] = not any((root / path.lstrip("/")).exists() for path in wanted)
    return tree


def for_groups(tree: Node, groups: Mapping[str, Sequence[str]]) -> Node:
    """Return the tree as a session with these ACL groups sees it."""
    seen = deepcopy(tree)
    _apply(seen, groups)
    return seen


def _apply(node: Node, groups: Mapping[str, Sequence[str]]) -> None:
    for child in node.get("children", {}).values():
        _apply(child, groups)
    required = node.get("depends", {}).get("acl")
    if not required:
        return
    held = [set(groups.get(group) or ()) for group in required]
    if not all(held):
        node["satisfied"] = False
    elif not any("write" in rights for rights in held):
        node["readonly"] = True


def resolve(tree: Node, path: Sequence[str]) -> tuple[Node, list[str]] | None:
    """Find the page of a path: the node and its own path, ``firstchild`` followed. None: there is no page."""
    node, names = tree, []
    for name in path:
        child = node.get("children", {}).get(name)
        if child is None or not child.get("satisfied"):
            return None
        node = child
        names.append(name)
    while node.get("action", {}).get("type") == "firstchild":
        found = _first_child(node)
        if found is None:
            return None
        name, node = found
        names.append(name)
    return (node, names) if "action" in node else None


def _first_child(node: Node) -> tuple[str, Node] | None:
    candidates = []
    for name, child in node.get("children", {}).items():
        kind = child.get("action", {}).get("type")
        if (
            not child.get("satisfied")
            or not child.get("title")
            or kind is None
            or child.get("firstchild_ineligible")
        ):
            continue
        if kind == "firstchild" and _first_child(child) is None:
            continue
        candidates.append((min(child.get("order", 9999), 9999), name, child))
    if not candidates:
        return None
    _, name, child = min(candidates, key=lambda candidate: candidate[:2])
    return name, child
