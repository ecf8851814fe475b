"""What a release brings along, as a CycloneDX document: our parts, and every distribution that they need.

https://cyclonedx.org/docs/1.6/json/. Versions are those installed, which the lock files pin. The document
depends on nothing but them, our version and the given time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ubus_py
from stripe_payments import __version__

REPOSITORY: Final = Path(__file__).resolve().parents[1]
ROUTER: Final = "router.in"
HUB: Final = "hub.in"
LICENCE: Final = "Apache-2.0"
SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"

_BY_OTHER_NAMES: Final = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True)
class Dependency:
    """One distribution of PyPI; `licence` is an SPDX expression, `needs`: the names of what it needs."""

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]


def wanted(file: str) -> list[Requirement]:
    """The direct requirements in a file of requirements/."""
    lines = (REPOSITORY / "requirements" / file).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def dependencies(*files: str) -> dict[str, Dependency]:
    """The distributions that the requirements bring along, by name, sorted."""
    found: dict[str, Dependency] = {}
    waiting = [requirement for file in files for requirement in wanted(file)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        installed = distribution(name)
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        needed = [
            need
            for need in map(Requirement, installed.requires or ())
            if need.marker is None or any(need.marker.evaluate(extra) for extra in extras)
        ]
        before = found[name].needs if name in found else ()
        needs = {canonicalize_name(need.name) for need in needed}.union(before)
        found[name] = Dependency(name, installed.version, _licence(name), tuple(sorted(needs)))
        waiting += [need for need in needed if canonicalize_name(need.name) not in before]
    return dict(sorted(found.items()))


def _licence(name: str) -> str:
    metadata = distribution(name).metadata
    if expression := metadata.get_all("License-Expression"):
        return str(expression[0])
    classifiers = metadata.get_all("Classifier") or ()
    named = [text.rsplit(" :: ", 1)[-1] for text in classifiers if text.startswith("License :: ")]
    named = named or [metadata["License"] or "none"]
    return " AND ".join(_BY_OTHER_NAMES.get(one, one) for one in named)


def document(mtime: int) -> dict[str, Any]:
    """The release's; `mtime`: its time, in epoch seconds."""
    found = dependencies(ROUTER, HUB)
    router, hub = _references(found, ROUTER), _references(found, HUB)
    bus = _reference("ubus-py", ubus_py.__version__)
    server = _reference("stripe-payments-hub", __version__)
    content = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component("application", "stripe-payments", __version__, LICENCE),
        },
        "components": [
            _component("library", "ubus-py", ubus_py.__version__, LICENCE),
            _component("application", "stripe-payments-hub", __version__, LICENCE),
            *(_component("library", one.name, one.version, one.licence) for one in found.values()),
        ],
        "dependencies": [
            _edge(_reference("stripe-payments", __version__), [bus, *router]),
            _edge(bus, ()),
            _edge(server, [bus, *router, *hub]),
            *(
                _edge(
                    _reference(one.name, one.version),
                    (_reference(need, found[need].version) for need in one.needs),
                )
                for one in found.values()
            ),
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **content,
    }


def _references(found: Mapping[str, Dependency], file: str) -> list[str]:
    """Of what a file of requirements/ names itself."""
    names = [canonicalize_name(requirement.name) for requirement in wanted(file)]
    return [_reference(name, found[name].version) for name in names]


def _reference(name: str, version: str) -> str:
    """A package URL: https://github.com/package-url/purl-spec"""
    return f"pkg:pypi/{name}@{version}"


def _component(kind: str, name: str, version: str, licence: str) -> dict[str, Any]:
    reference = _reference(name, version)
    return {
        "type": kind,
        "bom-ref": reference,
        "name": name,
        "version": version,
        "licenses": [{"expression": licence}],
        "purl": reference,
    }


def _edge(reference: str, needs: Iterable[str]) -> dict[str, Any]:
    return {"ref": reference, "dependsOn": sorted(set(needs))}
