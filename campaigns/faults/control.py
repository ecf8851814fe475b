"""Whether the campaign can fail: daemons with one deliberate mistake each, and a few cases that notice it.

A mistake is a text of the daemon's that is replaced by another; the rest of the code is a plain copy.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaigns.faults.case import Case
from campaigns.faults.damage import FOUND_WHILE_RUNNING, IDENTITY
from campaigns.faults.disturbance import Disturbance
from campaigns.faults.flash import Plan
from campaigns.faults.router_under_test import DAEMON
from campaigns.faults.scenarios import SCENARIOS
from campaigns.faults.stripe_disturbances import NONSENSE

__all__ = ["MISTAKES", "Mistake"]

PATIENCE_S = 20.0
"""A right daemon needs a second or two here."""


@dataclass(frozen=True)
class Mistake:
    """`file` below the package `stripe_payments`, in which `right` stands once and becomes `wrong`.

    The cases: `fault` at each of `points` of `scenario`, or each of `disturbances` at each of its steps.
    """

    name: str
    file: str
    right: str
    wrong: str
    scenario: str
    fault: str = ""
    points: tuple[int, ...] = ()
    disturbances: tuple[Disturbance, ...] = ()

    def daemon(self, folder: Path) -> Path:
        """The daemon that makes it, below `folder`. Raises RuntimeError where the text is not there."""
        made = folder / f"daemon that {self.name}"
        shutil.copytree(DAEMON, made, ignore=shutil.ignore_patterns("__pycache__"))
        file = made / "stripe_payments" / self.file
        text = file.read_text()
        if text.count(self.right) != 1:
            raise RuntimeError(
                f"{self.file} has changed: {self.right!r} stands there {text.count(self.right)} times"
            )
        file.write_text(text.replace(self.right, self.wrong))
        return made

    def cases(self) -> Iterator[Case]:
        """Of which at least one must fail."""
        for at in self.points:
            third = 2 * at if self.fault == "power" else None
            yield Case("control", self.scenario, at, (Plan(self.fault, at, third),))
        for disturbance in self.disturbances:
            for step in range(len(SCENARIOS[self.scenario].steps) + 1):
                yield Case("control", self.scenario, step + 1, (), disturbance, step)


MISTAKES = (
    Mistake(
        "does not sync its commits",
        "ledger/database.py",
        '"FULL" if any(job.durable for job in jobs) else "NORMAL"',
        "'OFF'",
        "purchase",
        "power",
        tuple(range(86, 108, 3)),
    ),
    Mistake(
        "does not sync its small files",
        "files.py",
        "            os.fsync(file.fileno())\n",
        "",
        "set-up",
        "power",
        tuple(range(2, 14)),
    ),
    Mistake(
        "asks for a session under another key each time",
        "billing/checkout_sessions.py",
        '{**params, "customer": customer}, checkout.idempotency_key)',
        '{**params, "customer": customer}, uuid.uuid4().hex)',
        "purchase",
        "kill",
        tuple(range(10, 40, 2)),
    ),
    Mistake(
        "delivers again what it could not record",
        "unlocks/worker.py",
        "max(effect.step, self._delivered.get(effect.id, 0))",
        "effect.step",
        "purchase",
        "EIO",
        tuple(range(80, 108, 2)),
    ),
    Mistake(
        "believes any JSON",
        "stripe_api/client.py",
        "read_response(response.body, expected)",
        "read_response(response.body, Expected())",
        "purchase",
        disturbances=NONSENSE[-4:],
    ),
    Mistake(
        "forgets who it is with its file",
        "app.py",
        "        recorded = await ledger.read(recorded_identity)\n",
        "        recorded = None\n",
        "purchase",
        disturbances=IDENTITY[-1:],
    ),
    Mistake(
        "overlooks damage while it runs",
        "ledger/database.py",
        "            self._notify(self.mark_corrupt, str(error))\n",
        "            pass\n",
        "purchase",
        disturbances=FOUND_WHILE_RUNNING[1:2],
    ),
)
