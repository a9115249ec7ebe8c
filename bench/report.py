"""From samples to figures: medians over the rounds, ratios to two programs, a table and JSON. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure import Sample
from bench.scenarios import Scenario

NGINX, TRAEFIK, LUA = "nginx", "traefik", "nginx-lua"


@dataclass(frozen=True, slots=True)
class Row:
    """One program in one scenario: medians over the rounds. ``total``: with what its Redis spent, for CPU figures."""

    program: str
    figure: float | None
    total: float | None
    spread: float | None  # (most - least) / median of the figure
    redis_commands: float | None  # a request
    rate: float | None  # requests a second
    busy: float | None  # share of its core
    p50: float | None
    p99: float | None
    requests: int
    faults: tuple[str, ...]

    @property
    def is_comparable(self) -> bool:
        """A figure with errors is none."""
        return self.figure is not None and not self.faults


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values: Sequence[float | None]) -> float | None:
    """How far the rounds lie apart, as a share of their median."""
    known = [value for value in values if value is not None]
    middle = median(known)
    return (max(known) - min(known)) / middle if len(known) > 1 and middle else None


def row_of(program: str, scenario: Scenario, samples: Sequence[Sample], has_redis: bool) -> Row:
    """The medians of one program."""
    figures = [sample.figure(scenario) for sample in samples]
    per_request = scenario.unit == "µs/request"
    measured = [sample for sample in samples if sample.outcome.requests]
    is_load = scenario.kind != "idle"
    return Row(
        program,
        median(figures),
        median([(sample.cpu + sample.redis_cpu) / sample.outcome.requests * 1e6 for sample in measured])
        if per_request
        else None,
        spread(figures),
        median([sample.redis_commands / sample.outcome.requests for sample in measured])
        if has_redis and is_load
        else None,
        median([sample.outcome.requests / sample.outcome.seconds for sample in measured]) if is_load else None,
        median([sample.cpu / sample.outcome.seconds for sample in measured]) if is_load else None,
        median([sample.outcome.p50 for sample in samples]),
        median([sample.outcome.p99 for sample in samples]),
        sum(sample.outcome.requests for sample in samples),
        tuple(dict.fromkeys(fault for sample in samples for fault in sample.faults)),
    )


def ratio(row: Row, rows: Mapping[str, Row], to: str) -> float | None:
    """The figure as a multiple of another program's in the same run; None when one of the two is none."""
    other = rows.get(to)
    if other is None or not (row.is_comparable and other.is_comparable) or not other.figure:
        return None
    assert row.figure is not None
    return row.figure / other.figure


def ratio_with_redis(row: Row, rows: Mapping[str, Row], to: str) -> float | None:
    """The same with the CPU of both programs' Redis."""
    other = rows.get(to)
    if other is None or not (row.is_comparable and other.is_comparable) or not row.total or not other.total:
        return None
    return row.total / other.total


def as_table(scenario: Scenario, rows: Mapping[str, Row], titles: Mapping[str, str]) -> str:
    """For people, aligned; best first is not needed, the order is that of the programs."""
    better = "more is better" if scenario.more_is_better else "less is better"
    columns = _columns(scenario, rows)
    heads = ["", *columns]
    lines = [[titles.get(name, name), *(show(row) for show in columns.values())] for name, row in rows.items()]
    widths = [max(len(line[index]) for line in [heads, *lines]) for index in range(len(heads))]
    shown = [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in [heads, *lines])
    ]
    notes = [f"  ! {titles.get(name, name)}: {'; '.join(row.faults)}" for name, row in rows.items() if row.faults]
    return "\n".join([f"{scenario.name}: {scenario.title} ({scenario.unit}, {better})", *shown, *notes])


def _columns(scenario: Scenario, rows: Mapping[str, Row]) -> dict[str, Callable[[Row], str]]:
    """Heading to what it shows of a row; columns where nobody has anything are left out."""
    columns: dict[str, Callable[[Row], str]] = {
        scenario.unit: lambda row: _number(row.figure, 1) + ("!" if row.faults else ""),
        "spread": lambda row: _percent(row.spread),
        "x nginx": lambda row: _number(ratio(row, rows, NGINX), 2),
        "x Traefik": lambda row: _number(ratio(row, rows, TRAEFIK), 2),
        "+ Redis": lambda row: _number(row.total, 1),
        "x nginx+Lua": lambda row: _number(ratio_with_redis(row, rows, LUA), 2),
        "Redis commands": lambda row: _number(row.redis_commands, 3),
        "requests/s": lambda row: _number(row.rate, 0),
        "core busy": lambda row: _percent(row.busy),
        "p50 ms": lambda row: _number(row.p50, 2),
        "p99 ms": lambda row: _number(row.p99, 2),
    }
    return {head: show for head, show in columns.items() if any(show(row).strip("-") for row in rows.values())}


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"


def as_json(scenario: Scenario, rows: Mapping[str, Row], samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Medians, ratios, and every round as it was."""
    return {
        "name": scenario.name,
        "title": scenario.title,
        "unit": scenario.unit,
        "better": "more" if scenario.more_is_better else "less",
        "connections": scenario.connections,
        "programs": {
            name: {
                "figure": row.figure,
                "spread": row.spread,
                "with_redis": row.total,
                "redis_commands": row.redis_commands,
                "requests_per_second": row.rate,
                "core_busy": row.busy,
                "p50_ms": row.p50,
                "p99_ms": row.p99,
                "requests": row.requests,
                "faults": list(row.faults),
                "to_nginx": ratio(row, rows, NGINX),
                "to_traefik": ratio(row, rows, TRAEFIK),
                "to_nginx_lua_with_redis": ratio_with_redis(row, rows, LUA),
                "rounds": [sample.as_json() for sample in samples[name]],
            }
            for name, row in rows.items()
        },
    }
