"""What the benchmark found, as text: Markdown tables, and the machine they were measured on."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

Row = list[str]
RULES = (
    "*Published* figures are quoted from their source and were not measured here. Everything else "
    "ran in this one command, strictly online: a row is scored before it is learned. One setting "
    "for all sets; labels are used only where a section says so.\n"
)


class Options(NamedTuple):
    """What the user asked for."""

    data: Path | None
    machines: int
    seeds: int
    quick: bool


class Table(NamedTuple):
    """One table; the first column holds names."""

    head: Row
    rows: list[Row]
    note: str = ""


class Panel(NamedTuple):
    """One chart: a bar for each name."""

    title: str
    bars: list[tuple[str, float]]
    perfect: float
    """The best figure there could be; 0 for errors."""


class Section(NamedTuple):
    """One part of the report."""

    title: str
    intro: str
    tables: list[Table]
    panels: list[Panel] = []
    speed: list[tuple[str, float, float]] = []
    """Name, rows per second of one core, how many times river's."""


def say(text: str) -> None:
    """Tell how far it is; the report itself goes to standard output."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # a program's progress


def number(value: float | None, digits: int = 0) -> str:
    """Return a number for a table, a dash for none."""
    if value == float("inf"):
        return "never ends"
    return "-" if value is None or value != value else f"{value:,.{digits}f}"  # noqa: PLR0124


def counted(machines: int) -> str:
    """Return a number of machines with its noun."""
    return f"{machines:,} machine{'' if machines == 1 else 's'}"


def markdown(sections: list[Section], command: str, charts: list[str]) -> str:
    """Return the whole report."""
    parts = [
        "# Benchmarks\n",
        f"Written by `{command}`; run it again to get this page anew.\n",
        machine() + "\n",
        RULES,
    ]
    parts += [f"![{Path(c).stem.replace('-', ' ')}]({c})\n" for c in charts]
    for section in sections:
        parts.append(f"## {section.title}\n\n{section.intro}\n")
        parts += [_table(t) + (f"\n{t.note}\n" if t.note else "") for t in section.tables]
    return "\n".join(parts)


def _table(table: Table) -> str:
    rows = [table.head, *table.rows]
    wide = [max(len(row[i]) for row in rows) for i in range(len(table.head))]

    def line(row: Row) -> str:
        cells = [
            row[0].ljust(wide[0]),
            *(c.rjust(w) for c, w in zip(row[1:], wide[1:], strict=True)),
        ]
        return "| " + " | ".join(cells) + " |\n"

    rule = "|" + "|".join(["-" * (wide[0] + 2), *("-" * (w + 1) + ":" for w in wide[1:])]) + "|\n"
    return line(table.head) + rule + "".join(line(row) for row in table.rows)


def machine() -> str:
    """Return what this ran on."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "river"))
    return (
        f"Measured on: {_cpu()}, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}); Python {platform.python_version()}, {versions}. One thread."
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
