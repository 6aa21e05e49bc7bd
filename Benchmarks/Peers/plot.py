#!/usr/bin/env python3
"""Draws the figures of `experiments bench` or, from peers.json, of bench_peers.py: a chart per section.

plot.py bench/bench.json bench/bench.png
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

# Okabe and Ito's colours can be told apart by everyone.
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#999999"]
INK = "#333333"

Record = dict[str, Any]
Name = Callable[[Record], str]


@dataclass
class Panel:
    """Horizontal bars (series, label, value), coloured by series; dashed lines at limits (label, value)."""

    title: str
    bars: list[tuple[str, str, float]]
    limits: list[tuple[str, float]]


def bars(
    records: Iterable[Record], series: Name, label: Name, key: str, factor: float = 1
) -> list[tuple[str, str, float]]:
    """A bar for every record that has the value; `series` and `label` name a record."""
    return [(series(one), label(one), one[key] * factor) for one in records if one.get(key)]


def case_name(one: Record) -> str:
    """`C = 1M, r = 0.1`."""
    return f"C = {count(one['classes'])}, r = {one['sampleRate']:g}"


def types(one: Record) -> str:
    """How rows and momentum are kept and what products are computed in."""
    return ", ".join(one[key] for key in ("storage", "momentumStorage", "compute") if key in one)


def peers_panels(result: Record) -> list[Panel]:
    """The head's time and memory and the serving of rows, ours beside the others."""

    def variant(one: Record) -> str:
        return one["variant"]

    head, serving = result.get("head", []), result.get("serving", [])
    return [
        Panel("milliseconds per step", bars(head, variant, case_name, "milliseconds"), []),
        Panel("peak memory, GB", bars(head, variant, case_name, "residentBytes", 1e-9), []),
        Panel(
            "rows over loopback, GB/s",
            bars(serving, variant, lambda one: one["name"], "gigabytesPerSecond"),
            [],
        ),
    ]


def bench_panels(result: Record) -> list[Panel]:
    """Our own figures beside this machine's limits."""
    limits = result.get("limits", {})

    def named(*names: tuple[str, str]) -> list[tuple[str, float]]:
        return [(label, limits[key]) for key, label in names if key in limits]

    head = result.get("head", [])
    products = named(("sgemmGigaflopsPerSecond", "f32 product"), ("oneDNNGigaflopsPerSecond", "bf16 product"))
    copies = named(("memcpyGigabytesPerSecond", "memcpy"))
    return [
        Panel("milliseconds per step", bars(head, types, case_name, "milliseconds"), []),
        Panel("GFLOP/s of a step", bars(head, types, case_name, "gigaflopsPerSecond"), products),
        Panel("peak memory, GB", bars(head, types, case_name, "residentBytes", 1e-9), []),
        Panel(
            "milliseconds by batch",
            bars(result.get("batches", []), types, lambda one: f"B = {one['batch']}", "milliseconds"),
            [],
        ),
        Panel(
            "milliseconds to sample",
            bars(
                result.get("sampling", []),
                lambda one: f"{count(one['sampled'])} sampled",
                lambda one: f"C = {count(one['classes'])}",
                "milliseconds",
            ),
            [],
        ),
        Panel(
            "rows over loopback, GB/s",
            bars(
                result.get("serving", []),
                lambda one: "serving",
                lambda one: one["name"],
                "gigabytesPerSecond",
            ),
            copies,
        ),
        Panel(
            "milliseconds per step of a cluster",
            bars(
                result.get("worlds", []),
                lambda one: "cluster",
                lambda one: f"{one['shards']} shards, {one['workers']} workers",
                "milliseconds",
            ),
            [],
        ),
        Panel(
            "milliseconds per step, exchange rows",
            bars(
                result.get("exchanges", []),
                lambda one: "1 shard, 1 worker",
                lambda one: one["exchange"],
                "milliseconds",
            ),
            [],
        ),
    ]


def draw(panels: list[Panel], file: Path) -> None:
    """Writes the picture; panels without a bar are left out."""
    panels = [panel for panel in panels if panel.bars]
    columns = min(3, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    most = max((len(panel.bars) for panel in panels), default=1)
    size = (5.6 * columns, lines * (1.8 + 0.28 * most))
    figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        draw_panel(axis, panel)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def draw_panel(axis: Axes, panel: Panel) -> None:
    """Bars with the same label stand together, and their number is at their end."""
    series = list(dict.fromkeys(name for name, _, _ in panel.bars))
    labels = list(dict.fromkeys(label for _, label, _ in panel.bars))
    place, ticks = 0.0, []
    for label in labels:
        group = [bar for bar in panel.bars if bar[1] == label]
        ticks.append(place + (len(group) - 1) / 2)
        for name, _, value in group:
            first = name not in axis.get_legend_handles_labels()[1]
            colour = PALETTE[series.index(name) % len(PALETTE)]
            axis.barh(place, value, height=0.85, color=colour, label=name if first else None)
            axis.annotate(
                short(value), (value, place), (3, 0), textcoords="offset points", va="center", fontsize=8
            )
            place += 1
        place += 0.6
    for label, value in panel.limits:
        axis.axvline(value, color=INK, linestyle="--", linewidth=1)
        axis.annotate(
            label,
            (value, 0),
            (2, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            fontsize=8,
            color=INK,
        )
    values = [value for _, _, value in panel.bars]
    highest = max(values + [value for _, value in panel.limits])
    axis.set_xlim(0, highest * 1.15)
    if highest > 30 * min(values):
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 2, highest * 2.5)
    axis.set_yticks(ticks, labels, fontsize=9)
    axis.invert_yaxis()
    axis.set_title(panel.title, fontsize=11, color=INK)
    axis.spines[["top", "right", "left"]].set_visible(False)
    if len(series) > 1:
        axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def count(value: int) -> str:
    """100000 as 100k, 10000000 as 10M."""
    for unit, suffix in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if value >= unit:
            return f"{value / unit:g}{suffix}"
    return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    panels = peers_panels if options.source.stem == "peers" else bench_panels
    draw(panels(json.loads(options.source.read_text())), options.picture)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main()
