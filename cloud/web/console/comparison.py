"""The chart of updated machines beside those not updated: ECharts options from numbers. Pure."""

from collections.abc import Sequence

from cloud.web.console import charts
from cloud.web.console.charts import Area, Mark, Options, Track
from cloud.web.rollout_schemas import HealthPointView

UPDATED, CONTROL = charts.LINE, charts.GREY
BAND_OPACITY = 0.16


def comparison(points: Sequence[HealthPointView], span: Area, marks: list[Mark]) -> Options:
    """Return both medians, each with a band up to its 90th percentile, and the alarm level."""
    times_ns = [point.at_ns for point in points]
    updated, control = [p.updated for p in points], [p.control for p in points]
    track = Track(
        title="Updated, median", times_ns=times_ns, values=updated, color=UPDATED, level=1.0,
        level_label="alarm level",
    )  # fmt: skip
    options = charts.chart([track], span, [], marks)
    options["yAxis"][0] |= {"min": 0, "scale": False}
    options["yAxis"][0]["axisLabel"]["showMaxLabel"] = False  # the names of marks stand there
    options["series"] += [
        _line("Not updated, median", CONTROL, times_ns, control),
        *_band("Updated", UPDATED, times_ns, updated, [p.updated_high for p in points]),
        *_band("Not updated", CONTROL, times_ns, control, [p.control_high for p in points]),
    ]
    return options


def _line(
    name: str, color: str, times_ns: Sequence[int], values: Sequence[float | None]
) -> Options:
    return {
        "name": name,
        "type": "line",
        "showSymbol": False,
        "connectNulls": False,
        "color": color,
        "lineStyle": {"width": 1.6},
        "data": _pairs(times_ns, values),
    }


def _band(
    group: str,
    color: str,
    times_ns: Sequence[int],
    low: Sequence[float | None],
    high: Sequence[float | None],
) -> list[Options]:
    """Return two stacked series: an unseen one up to the median, and the shade above it."""
    clear = {"opacity": 0}
    rows = []
    for time_ns, bottom, top in zip(times_ns, low, high, strict=True):
        wide = None if bottom is None or top is None else round(max(top - bottom, 0.0), 4)
        rows.append([time_ns // 1_000_000, wide, None if top is None else round(top, 4)])
    common = {"type": "line", "stack": group, "showSymbol": False, "color": color}
    base = _pairs(times_ns, low)
    return [
        common | {"name": f"{group}, from", "data": base, "lineStyle": clear, "silent": True,
                  "encode": {"x": 0, "y": 1, "tooltip": []}},
        common | {"name": f"{group}, 9 of 10 below", "data": rows, "lineStyle": clear, "z": 1,
                  "areaStyle": {"color": color, "opacity": BAND_OPACITY},
                  "encode": {"x": 0, "y": 1, "tooltip": [2]}},
    ]  # fmt: skip


def _pairs(times_ns: Sequence[int], values: Sequence[float | None]) -> list[list[float | None]]:
    return [
        [time_ns // 1_000_000, None if value is None else round(value, 4)]
        for time_ns, value in zip(times_ns, values, strict=True)
    ]
