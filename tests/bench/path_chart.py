"""The path's one chart: who needs how much CPU for a message."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from tests.bench import chart

PAHO = "#e0a458"


def costs(bars: list[tuple[str, float]], path: Path) -> Path:
    """Draw CPU microseconds per message, the least first; return the file."""
    mpl.rcParams.update(
        {"svg.hashsalt": "farfix", "svg.fonttype": "none", "font.size": 9, "text.color": chart.INK}
    )
    bars = sorted(bars, key=lambda bar: bar[1])
    figure, axis = plt.subplots(figsize=(10, 0.3 * len(bars) + 0.9))
    drawn = axis.barh(
        [name for name, _ in bars],
        [cpu_us for _, cpu_us in bars],
        color=[_colour(name) for name, _ in bars],
        height=0.7,
    )
    axis.bar_label(drawn, [f"{cpu_us:.2g}" for _, cpu_us in bars], padding=3, fontsize=8)
    axis.set_xlim(0, 1.1 * max((cpu_us for _, cpu_us in bars), default=1.0))
    axis.set_title(
        "CPU microseconds per message (lower is better)",
        loc="left", x=-0.45, fontsize=9, fontweight="bold",
    )  # fmt: skip
    axis.margins(y=0.01)
    axis.xaxis.set_visible(False)
    chart._plain(axis)
    return chart._write(figure, path)


def _colour(name: str) -> str:
    return chart.OWN if name.startswith("Farfix") else PAHO if "paho-mqtt" in name else chart.OTHER
