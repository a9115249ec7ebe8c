"""Bars of a result: ``python -m bench.chart RESULT.json CHART.png``. Needs matplotlib, which bench/setup installs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

_OURS, _OTHERS, _REDIS = "#1f6feb", "#9aa4b2", "#d0d7de"


def draw(result: dict[str, Any], target: Path) -> None:
    """One panel a scenario, the best on top; a figure with errors is left out.

    :raises ImportError: no matplotlib.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    scenarios = result["scenarios"]
    across = min(3, len(scenarios))
    down = -(-len(scenarios) // across)
    figure, panels = pyplot.subplots(down, across, figsize=(6 * across, 3.2 * down), squeeze=False)
    for panel in panels.flat[len(scenarios) :]:
        panel.set_visible(False)
    for panel, scenario in zip(panels.flat, scenarios, strict=False):
        _panel(panel, scenario, result["programs"])
    machine = result["machine"]
    figure.suptitle(
        f"On one core ({machine['processor']}), {result['made'][:10]}. Pale: with the CPU of its Redis.", fontsize=11
    )
    figure.tight_layout()
    figure.savefig(target, dpi=110, metadata={"Software": None})


def _panel(panel: Any, scenario: dict[str, Any], programs: dict[str, Any]) -> None:
    rows = [(name, row) for name, row in scenario["programs"].items() if row["figure"] and not row["faults"]]
    rows.sort(key=lambda pair: pair[1]["figure"], reverse=scenario["better"] == "less")
    names = [programs[name]["title"] for name, _ in rows]
    figures = [row["figure"] for _, row in rows]
    totals = [row["with_redis"] or row["figure"] for _, row in rows]
    if any(total > figure for total, figure in zip(totals, figures, strict=True)):
        panel.barh(names, totals, color=_REDIS)
    colours = [_OURS if name == "gateway" else _OTHERS for name, _ in rows]
    bars = panel.barh(names, figures, color=colours)
    panel.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    panel.margins(x=0.15)
    panel.set_title(scenario["title"], fontsize=9)
    panel.set_xlabel(f"{scenario['unit']} ({scenario['better']} is better)", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Both paths are given."""
    source, target = map(Path, sys.argv[1:3])
    draw(json.loads(source.read_text(encoding="utf-8")), target)


if __name__ == "__main__":
    main()
