"""The layers of the daemon, import cycles, modules without IO, and module names."""

import ast
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAYMENTS = REPOSITORY / "daemon" / "stripe_payments"
ROOTS = [REPOSITORY / "daemon", REPOSITORY / "hub", REPOSITORY]
FOLDERS = ["daemon", "hub", "simulator", "campaigns", "tests", "tools"]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("log",),
    (
        "backoff",
        "bytecode",
        "currencies",
        "files",
        "i18n",
        "payment_history",
        "rfc3339",
        "shared_tasks",
        "watchdog",
    ),
    ("clock", "errors", "single_instance"),
    ("arguments", "identity", "keys", "settings", "supervisor"),
    ("entitlements", "return_urls", "stripe_api"),
    ("ledger",),
    ("sync",),
    ("billing", "unfinished_purchases", "unlocks"),
    ("hub_client", "setup"),
    ("diagnostics",),
    ("startup_gate",),
    ("bus_method", "http_api", "settings_reload"),
    ("bus_api", "bus_object", "seller_socket"),
    ("app",),
    ("__main__",),
)
"""The packages and top-level modules of `stripe_payments`, lowest first: each imports from lower layers only,
also under TYPE_CHECKING.
"""

IO = {"asyncio", "concurrent", "io", "os", "pathlib", "socket", "sqlite3", "subprocess", "threading", "time"}
WITHOUT_IO = [
    "stripe_payments.billing.declines",
    "stripe_payments.billing.eligibility",
    "stripe_payments.currencies",
    "stripe_payments.entitlements",
    "stripe_payments.payment_history",
    "stripe_payments.settings.model",
    "stripe_payments.settings.uci",
    "stripe_payments.sync.archiving",
    "stripe_payments.sync.payment_facts",
    "stripe_payments.sync.plan_facts",
    "stripe_payments.sync.poll_plan",
    "stripe_payments.sync.poll_round",
    "stripe_payments.sync.poll_timing",
    "stripe_payments.sync.projection",
    "stripe_payments.sync.stripe_objects",
]
"""Neither these nor what they import may do IO: they run on a server and in simulations too."""

FOR_ANNOTATIONS = {
    "campaigns.fleet.fleet",
    "campaigns.fleet.router",
    "simulator.stripe_cloud",
}
"""Modules and packages that name each other's types, under TYPE_CHECKING alone."""


def _modules() -> dict[str, Path]:
    """Every module of the repository by its name as it is imported."""
    found = {}
    for folder in FOLDERS:
        for file in (REPOSITORY / folder).rglob("*.py"):
            root = next(root for root in ROOTS if root in file.parents)
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    assert len(found) > 100
    return found


MODULES = _modules()


def _imports(module: str, *, type_checking: bool) -> Iterator[str]:
    """What `module` imports, wherever in it: the most exact names of modules of ours, others as they are.
    `type_checking`: whether imports for annotations alone count.
    """
    file = MODULES[module]
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(file.read_text())
    skipped: set[ast.AST] = set()
    if not type_checking:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{origin}.{alias.name}"
                yield submodule if submodule in MODULES else origin


def _unit(module: str) -> str | None:
    """The package or top-level module of `stripe_payments` that `module` belongs to."""
    first, *rest = module.split(".")
    return rest[0] if first == "stripe_payments" and rest else None


def _layer(unit: str) -> int:
    return next(number for number, units in enumerate(LAYERS) if unit in units)


def _reachable(graph: dict[str, set[str]], module: str) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        found = graph[waiting.pop()] - reached
        reached |= found
        waiting.extend(found)
    return reached


def _on_cycles(graph: dict[str, set[str]]) -> set[str]:
    return {module for module in graph if module in _reachable(graph, module)}


def test_every_package_and_module_has_a_layer() -> None:
    units = {unit for module in MODULES if (unit := _unit(module)) is not None}
    assert units == {unit for layer in LAYERS for unit in layer}, "complete LAYERS in this file"


@pytest.mark.parametrize("module", [module for module in MODULES if _unit(module)], ids=str)
def test_nothing_is_imported_from_the_same_layer_or_a_higher_one(module: str) -> None:
    unit = _unit(module)
    assert unit is not None
    others = {_unit(imported) for imported in _imports(module, type_checking=True)} - {unit, None}
    assert [other for other in others if other is not None and _layer(other) >= _layer(unit)] == []


@pytest.mark.parametrize("module", [module for module in MODULES if _unit(module)], ids=str)
def test_a_router_needs_nothing_of_the_hub(module: str) -> None:
    assert not [name for name in _imports(module, type_checking=True) if name.startswith("payments_hub")]


@pytest.mark.parametrize("type_checking", [False, True])
def test_no_modules_of_the_repository_import_each_other(type_checking: bool) -> None:
    graph = {
        module: {
            name
            for name in _imports(module, type_checking=type_checking)
            if name in MODULES and name != module
        }
        for module in MODULES
    }
    cycle = _on_cycles(graph)
    if type_checking:
        cycle -= {
            module for module in cycle for known in FOR_ANNOTATIONS if f"{module}.".startswith(f"{known}.")
        }
    assert not cycle


def test_a_cycle_is_found() -> None:
    assert _on_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


def _reached(module: str) -> dict[str, str]:
    """The modules outside the repository that importing `module` leads to, each with ours that imports it."""
    reached: dict[str, str] = {}
    seen, waiting = {module}, [module]
    while waiting:
        current = waiting.pop()
        for imported in _imports(current, type_checking=False):
            if imported not in MODULES:
                reached[imported.split(".")[0]] = current
            elif imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return reached


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_rules_do_no_io(module: str) -> None:
    assert {name: by for name, by in _reached(module).items() if name in {*IO, "ubus_py"}} == {}


def _one_letter_apart(one: str, other: str) -> bool:
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    shorter, longer = sorted((one, other), key=len)
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def _names(modules: Iterable[str]) -> list[str]:
    return [name for module in modules if not (name := module.rpartition(".")[2]).startswith("__")]


def test_no_two_modules_of_the_daemon_have_the_same_or_almost_the_same_name() -> None:
    names = _names(
        module for module, file in MODULES.items() if PAYMENTS in file.parents and file.name != "__init__.py"
    )
    assert {name for name in names if names.count(name) > 1} == set()
    pairs = {
        (one, other) for one, other in combinations(sorted(set(names)), 2) if _one_letter_apart(one, other)
    }
    assert pairs == set()
