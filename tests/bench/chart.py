"""The report's charts."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.report import Panel, Section, number

OWN, OTHER, BOARD, INK = "#0b6e4f", "#b9c2c9", "#e0a458", "#24292f"
"""Our own bar, measured rivals, published figures, text."""
COLUMNS = 2


def draw(sections: list[Section], folder: Path) -> list[Path]:
    """Draw what the sections hold; return the files."""
    mpl.rcParams.update(
        {"svg.hashsalt": "farfix", "svg.fonttype": "none", "font.size": 9, "text.color": INK}
    )
    panels = [panel for section in sections for panel in section.panels if panel.bars]
    speed = [bar for section in sections for bar in section.speed]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if panels:
        files.append(_quality(panels, folder / "benchmark-quality.svg"))
    if speed:
        files.append(_speed(speed, folder / "benchmark-speed.svg"))
    return files


def _quality(panels: list[Panel], path: Path) -> Path:
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(10, 2.1 * rows + 0.3), squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        _bars(axis, panel)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    return _write(figure, path)


def _bars(axis: Axes, panel: Panel) -> None:
    names = [name for name, _ in panel.bars]
    values = [max(value, 0.0) for _, value in panel.bars]
    bars = axis.barh(names, values, color=[_colour(name) for name in names], height=0.7)
    digits = 0 if max(values) >= 100 else 1 if max(values) > 1.5 else 3
    labels = [f"{value:.{digits}f}" for _, value in panel.bars]
    axis.bar_label(bars, labels, padding=3, fontsize=8)
    _title(axis, panel.title + ("" if panel.perfect else " (lower is better)"))
    axis.set_xlim(0, 1.15 * max(*values, panel.perfect))
    axis.xaxis.set_visible(False)
    _plain(axis)


def _speed(bars: list[tuple[str, float, float]], path: Path) -> Path:
    figure, axis = plt.subplots(figsize=(10, 0.32 * len(bars) + 0.9))
    drawn = axis.barh(
        [name for name, _, _ in bars],
        [rows for _, rows, _ in bars],
        color=[_colour(name) for name, _, _ in bars],
        height=0.7,
    )
    labels = [
        f"{_short(rows)} rows/s, {number(ratio, 0 if ratio >= 10 else 1)} x"
        for _, rows, ratio in bars
    ]
    axis.bar_label(drawn, labels, padding=3, fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(min(r for _, r, _ in bars) / 2, 30 * max(r for _, r, _ in bars))
    _title(axis, "Rows scored and learned per second of one core (log scale), and times river")
    axis.margins(y=0.01)
    axis.xaxis.set_visible(False)
    _plain(axis)
    return _write(figure, path)


def _short(rows: float) -> str:
    return f"{rows / 1e6:.3g} M" if rows >= 1e6 else f"{rows / 1e3:.3g} k"


def _colour(name: str) -> str:
    return OWN if name.startswith("Farfix") else BOARD if "published" in name else OTHER


def _title(axis: Axes, text: str) -> None:
    """Write above the names rather than above the bars: they are too narrow for it."""
    axis.set_title(text, loc="left", x=-0.45, fontsize=9, fontweight="bold")


def _plain(axis: Axes) -> None:
    axis.invert_yaxis()
    axis.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)


def _write(figure: Figure, path: Path) -> Path:
    figure.tight_layout()
    # no date: the same figures give the same file
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)
    return path
