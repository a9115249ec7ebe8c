"""What several commands are given, and how they show what they found."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import click

File = click.Path(dir_okay=False, path_type=Path)
Folder = click.Path(file_okay=False, path_type=Path)
PortNumber = click.IntRange(0, 65535)

config_option = click.option("--config", type=File, required=True, help="The configuration of the gateway.")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns. What clients sent cannot move the cursor of a terminal: control characters become ``?``."""
    clean = [["".join(c if c.isprintable() else "?" for c in cell) or "-" for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*clean, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)) for row in clean
    ]
    return "\n".join(line.rstrip() for line in lines)


def _width(text: str) -> int:
    """In columns of a terminal: Chinese characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
