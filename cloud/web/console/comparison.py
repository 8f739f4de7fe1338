"""The chart of updated machines beside those not updated: ECharts options from numbers."""

from collections.abc import Sequence

from cloud.web.console import charts
from cloud.web.console.charts import Area, Mark, Options, Track
from cloud.web.console.tongue import t
from cloud.web.rollout_schemas import HealthPointView

UPDATED, CONTROL = charts.LINE, charts.GREY
BAND_OPACITY = 0.16


def comparison(points: Sequence[HealthPointView], span: Area, marks: list[Mark]) -> Options:
    """Return both medians, each with a band up to its 90th percentile, and the alarm level."""
    times_ns = [point.at_ns for point in points]
    updated, control = [p.updated for p in points], [p.control for p in points]
    track = Track(
        title=t("Updated, median"), times_ns=times_ns, values=updated, color=UPDATED, level=1.0,
        level_label=t("alarm level"),
    )  # fmt: skip
    options = charts.chart([track], span, [], marks)
    options["yAxis"][0] |= {"min": 0, "scale": False}
    options["yAxis"][0]["axisLabel"]["showMaxLabel"] = False  # the names of marks stand there
    options["series"][0]["stack"] = "updated"
    options["series"] += [
        _line(t("Not updated, median"), times_ns, control) | {"stack": "control", "color": CONTROL},
        _shade(t("Updated, 9 of 10 below"), times_ns, updated, [p.updated_high for p in points])
        | {"stack": "updated", "color": UPDATED},
        _shade(t("Not updated, 9 of 10 below"), times_ns, control, [p.control_high for p in points])
        | {"stack": "control", "color": CONTROL},
    ]
    return options


def _line(name: str, times_ns: Sequence[int], values: Sequence[float | None]) -> Options:
    return {
        "name": name,
        "type": "line",
        "showSymbol": False,
        "connectNulls": False,
        "lineStyle": {"width": 1.6},
        "data": _pairs(times_ns, values),
    }


def _shade(
    name: str, times_ns: Sequence[int], low: Sequence[float | None], high: Sequence[float | None]
) -> Options:
    """Return the shade that is stacked on a median; its tooltip tells where it ends."""
    rows = []
    for time_ns, bottom, top in zip(times_ns, low, high, strict=True):
        wide = None if bottom is None or top is None else round(max(top - bottom, 0.0), 4)
        rows.append([time_ns // 1_000_000, wide, None if top is None else round(top, 4)])
    return {
        "name": name,
        "type": "line",
        "showSymbol": False,
        "lineStyle": {"opacity": 0},
        "areaStyle": {"opacity": BAND_OPACITY},
        "encode": {"x": 0, "y": 1, "tooltip": [2]},
        "data": rows,
    }


def _pairs(times_ns: Sequence[int], values: Sequence[float | None]) -> list[list[float | None]]:
    return [
        [time_ns // 1_000_000, None if value is None else round(value, 4)]
        for time_ns, value in zip(times_ns, values, strict=True)
    ]
