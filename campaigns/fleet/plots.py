"""The pictures of docs/fleet.md, in English and Italian."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image

from .fleet import Fleet
from .scenarios import DAY, HOUR, Week
from .stripe import Seconds

mpl.use("Agg")

Text = dict[str, str]
LANGUAGES: Final = ("en", "it")

LIMIT: Final[Text] = {"en": "Stripe's limit", "it": "limite di Stripe"}
REQUESTS: Final[Text] = {"en": "requests a second", "it": "richieste al secondo"}
MOST: Final[Text] = {"en": "most in a second", "it": "massimo in un secondo"}
MEAN: Final[Text] = {"en": "on average", "it": "in media"}
RIGHT: Final[Text] = {"en": "routers that have seen everything", "it": "router che hanno visto tutto"}
SECONDS: Final[Text] = {"en": "seconds since the restart", "it": "secondi dal riavvio"}
HOURS: Final[Text] = {"en": "hours", "it": "ore"}
REFUSED: Final[Text] = {"en": "refused", "it": "rifiutate"}
DAYS: Final = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "it": ("lun", "mar", "mer", "gio", "ven", "sab", "dom"),
}
EPISODES: Final[dict[str, Text]] = {
    "morning rush: one in fifty buys": {"en": "morning rush", "it": "ora di punta"},
    "a street's power is back": {"en": "a street's\npower", "it": "corrente\nin una via"},
    "everybody's power is back": {"en": "everybody's\npower", "it": "corrente\nper tutti"},
    "Stripe answered 500 for an hour": {"en": "500 for\nan hour", "it": "500 per\nun'ora"},
    "Stripe was away for an hour": {"en": "Stripe away\nan hour", "it": "Stripe assente\nun'ora"},
    "no internet for an hour": {"en": "no internet\nan hour", "it": "senza Internet\nun'ora"},
    "no internet for a minute": {"en": "a minute", "it": "un minuto"},
    "all plans renew in the same second": {"en": "first of\nthe month", "it": "primo del\nmese"},
}

DARK: Final = "#1f4e79"
LIGHT: Final = "#9dc3e6"
RED: Final = "#c00000"


def _bins(seconds: Seconds, since: float, until: float, width: int) -> NDArray[np.int64]:
    """One row for each `width` seconds."""
    counts = np.frombuffer(seconds.between(since, until), dtype=np.uint32).astype(np.int64)
    return counts[: len(counts) // width * width].reshape(-1, width)


def save(figure: Any, folder: Path, name: str, language: str) -> None:
    """A small file: a few colours are enough for lines."""
    file = folder / (f"{name}.png" if language == "en" else f"{name}.{language}.png")
    figure.savefig(file, dpi=110)
    plt.close(figure)
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(colors=48)
    small.save(file, optimize=True)


def _limit(axes: Any, language: str, limit: float = 100.0) -> None:
    axes.axhline(limit, color=RED, linestyle="--", linewidth=1, label=LIMIT[language])


def draw_week(week: Week, folder: Path) -> None:
    """Requests a second over seven days, and what happened."""
    seen = week.fleet.account.seen.requests
    rows = _bins(seen, week.starts_at, week.starts_at + 7 * DAY, 300)
    days = np.arange(len(rows)) * 300 / DAY
    for language in LANGUAGES:
        figure, axes = plt.subplots(figsize=(9.6, 3.6), layout="constrained")
        axes.fill_between(days, rows.max(axis=1), color=LIGHT, linewidth=0, label=MOST[language])
        axes.plot(days, rows.mean(axis=1), color=DARK, linewidth=0.9, label=MEAN[language])
        _limit(axes, language)
        for number, episode in enumerate(found for found in week.episodes if found.name in EPISODES):
            at = (episode.since - week.starts_at) / DAY
            axes.axvline(at, color="0.75", linewidth=0.6, zorder=0)
            height = 92 if number % 2 else 74
            axes.text(at + 0.02, height, EPISODES[episode.name][language], fontsize=7.5, va="top")
        axes.set_xlim(0, 7)
        axes.set_ylim(0, 112)
        axes.set_xticks(np.arange(7) + 0.5, DAYS[language])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(REQUESTS[language])
        axes.legend(loc="upper right", fontsize=8, ncols=3, frameon=False, bbox_to_anchor=(1, 1.13))
        save(figure, folder, "fleet-week", language)


def draw_restart(fleets: Sequence[tuple[Text, Fleet]], folder: Path) -> None:
    """Several fleets of which all routers start in second 0: requests, and who has seen everything."""
    for language in LANGUAGES:
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
        for (name, fleet), colour in zip(fleets, (DARK, LIGHT, "0.55"), strict=False):
            seen = fleet.account.seen.requests
            rows = _bins(seen, 0, 1200, 5)
            moments = np.arange(len(rows)) * 5
            left.plot(moments, rows.max(axis=1), color=colour, linewidth=0.9, label=name[language])
            after = np.sort(np.asarray(fleet.right_after))
            share = 100 * np.arange(1, len(after) + 1) / len(fleet.routers)
            right.plot(after, share, color=colour, linewidth=1.4, label=name[language])
        _limit(left, language)
        left.set_ylim(0, 130)
        left.set_ylabel(f"{REQUESTS[language]} ({MOST[language]})")
        right.set_ylabel(f"% {RIGHT[language]}")
        right.axvline(900, color=RED, linestyle="--", linewidth=1)
        for axes in (left, right):
            axes.set_xlim(0, 1200)
            axes.set_xlabel(SECONDS[language])
        left.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
        save(figure, folder, "fleet-restart", language)


def draw_million(spread: Fleet, crowded: Fleet, scale: float, folder: Path) -> None:
    """A million routers whose power comes back: at a day's poll_interval, and at a quarter of an hour's."""
    hours = 36.0
    titles = {
        "en": ("poll_interval 86,400", "poll_interval 900"),
        "it": ("poll_interval 86.400", "poll_interval 900"),
    }
    for language in LANGUAGES:
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
        for axes, fleet, part, title in (
            (left, spread, 1.0, titles[language][0]),
            (right, crowded, scale, titles[language][1]),
        ):
            rows = _bins(fleet.account.seen.requests, 0, hours * HOUR, 600) / part
            moments = np.arange(len(rows)) / 6
            axes.fill_between(moments, rows.mean(axis=1), color=LIGHT, linewidth=0, label=REQUESTS[language])
            refused = _bins(fleet.account.seen.refused, 0, hours * HOUR, 600) / part
            if refused.sum():
                axes.fill_between(
                    moments, refused.mean(axis=1), color=RED, alpha=0.45, linewidth=0, label=REFUSED[language]
                )
            _limit(axes, language)
            axes.set_yscale("symlog", linthresh=10)
            axes.set_ylim(0, 12_000)
            axes.set_yticks([0, 10, 100, 1000, 10_000], ["0", "10", "100", "1000", "10000"])
            axes.set_xlim(0, hours)
            axes.set_xlabel(HOURS[language])
            axes.set_title(title, fontsize=10)
            share = axes.twinx()
            after = np.sort(np.asarray(fleet.right_after)) / HOUR
            steps = np.linspace(0, len(after) - 1, 500).astype(int)
            share.plot(
                after[steps], 100 * (steps + 1) / len(fleet.routers), color=DARK, label=f"% {RIGHT[language]}"
            )
            share.set_ylim(0, 104)
            if axes is right:
                bars, lines = axes.get_legend_handles_labels(), share.get_legend_handles_labels()
                axes.legend(
                    bars[0] + lines[0],
                    bars[1] + lines[1],
                    loc="upper right",
                    bbox_to_anchor=(1, 0.93),
                    fontsize=7.5,
                    frameon=False,
                )
        left.set_ylabel(REQUESTS[language])
        save(figure, folder, "fleet-million", language)
