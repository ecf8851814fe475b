"""The picture of a power cut in docs/hub.md, in English and Italian."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import pyplot as plt

from campaigns.fleet.plots import DARK, LANGUAGES, LIGHT, RED, REFUSED, REQUESTS, Text, save
from campaigns.scale.power_cut import PowerCut

__all__ = ["NAME", "draw_power_cut"]

NAME: Final = "hub-power-cut"
_SECONDS: Final = 420
_SINCE: Final[Text] = {"en": "seconds since the power is back", "it": "secondi dal ritorno della corrente"}
_RIGHT: Final[Text] = {
    "en": "% of routers that have their state",
    "it": "% di router che hanno il loro stato",
}


def draw_power_cut(seen: PowerCut, routers: int, folder: Path) -> None:
    """Requests in each second, those that are refused, and how many routers have had an answer."""
    seconds = np.arange(_SECONDS)
    after = np.sort(np.asarray(seen.right))
    share = 100 * np.searchsorted(after, seconds, side="right") / routers
    for language in LANGUAGES:
        figure, axes = plt.subplots(figsize=(9.6, 3.4), layout="constrained")
        requests = np.asarray(seen.requests[:_SECONDS])
        refused = np.asarray(seen.refused[:_SECONDS])
        axes.fill_between(seconds, requests, color=LIGHT, linewidth=0, label=REQUESTS[language])
        axes.fill_between(seconds, refused, color=RED, alpha=0.45, linewidth=0, label=REFUSED[language])
        axes.set_xlim(0, _SECONDS)
        axes.set_ylim(0)
        axes.set_xlabel(_SINCE[language])
        axes.set_ylabel(REQUESTS[language])
        right = axes.twinx()
        right.plot(seconds, share, color=DARK, label=_RIGHT[language])
        right.set_ylim(0, 104)
        bars, lines = axes.get_legend_handles_labels(), right.get_legend_handles_labels()
        axes.legend(bars[0] + lines[0], bars[1] + lines[1], loc="center right", fontsize=8, frameon=False)
        save(figure, folder, NAME, language)
