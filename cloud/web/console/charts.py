"""ECharts options from numbers. Pure; colours are chosen to read well on light and dark."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from cloud.web.words import number

Options = dict[str, Any]  # ECharts' own open-ended shape

LINE = "#2f8fa8"
SCORE = "#7a6bd0"
GREY = "#8593a1"
SPLIT = "rgba(130,145,160,0.18)"
FAULT = "rgba(205,70,60,0.10)"
MARK = {"bad": "#d0574c", "info": "#3f86d8", "ok": "#2f9e63", "calm": GREY}


class Mark(Struct, frozen=True):
    """An instant worth a vertical line."""

    at_ns: int
    label: str
    tone: str


class Area(Struct, frozen=True):
    """A span during which a fault was open."""

    from_ns: int
    to_ns: int


class Track(Struct, frozen=True, kw_only=True):
    """One line over time, with what belongs to it."""

    title: str
    times_ns: Sequence[int]
    values: Sequence[float | None]
    color: str = LINE
    level: float | None = None
    """A horizontal line, such as the alarm level or the expected value."""
    level_label: str = ""
    names: dict[str, str] = {}
    """For modes: number to name; draws steps."""


def chart(tracks: list[Track], span: Area, areas: list[Area], marks: list[Mark]) -> Options:
    """Return tracks stacked on one time axis, faults shaded, marks named on the first."""
    count = len(tracks)
    top = 12 + 16 * min(len(marks), 3) if marks else 10
    many = count > 1
    return {
        "animation": False,
        "useUTC": True,
        "textStyle": {"fontFamily": "inherit"},
        "grid": [_grid(i, count, top) for i in range(count)],
        "axisPointer": {"link": [{"xAxisIndex": "all"}], "lineStyle": {"color": GREY}},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "borderWidth": 0,
            "backgroundColor": "rgba(24,32,40,0.92)",
            "textStyle": {"color": "#f2f5f8", "fontSize": 12},
        },
        "title": [_title(t, i, count, top) for i, t in enumerate(tracks)] if many else [],
        "xAxis": [_x_axis(i, count, span) for i in range(count)],
        "yAxis": [_y_axis(track, i) for i, track in enumerate(tracks)],
        "series": [_series(track, i, areas, marks, named=i == 0) for i, track in enumerate(tracks)],
    }


HEAD_PX, TRACK_PX, FOOT_PX = 26, 96, 28


def height_px(tracks: int, marks: int) -> int:
    """Return how high a chart of several tracks must be."""
    return 12 + 16 * min(marks, 3) + tracks * (HEAD_PX + TRACK_PX) + FOOT_PX


def _top(index: int, top: int) -> int:
    return top + index * (HEAD_PX + TRACK_PX)


def _grid(index: int, count: int, top: int) -> Options:
    if count == 1:
        return {"left": 8, "right": 12, "top": top, "bottom": 4, "containLabel": True}
    return {"left": 52, "right": 14, "top": _top(index, top) + HEAD_PX, "height": TRACK_PX - 8}


def _title(track: Track, index: int, count: int, top: int) -> Options:
    del count
    style = {"fontSize": 12, "fontWeight": 500, "color": GREY}
    return {"text": track.title, "left": 4, "top": _top(index, top), "textStyle": style}


def _x_axis(index: int, count: int, span: Area) -> Options:
    last = index == count - 1
    return {
        "type": "time",
        "gridIndex": index,
        "min": span.from_ns // 1_000_000,
        "max": span.to_ns // 1_000_000,
        "splitNumber": 4,
        "axisLine": {"lineStyle": {"color": SPLIT}},
        "axisTick": {"show": False},
        "axisLabel": {"show": last, "color": GREY, "fontSize": 11, "hideOverlap": True},
        "splitLine": {"show": False},
        "axisPointer": {"label": {"show": False}},
    }


def _y_axis(track: Track, index: int) -> Options:
    axis: Options = {
        "type": "value",
        "gridIndex": index,
        "scale": True,
        "splitNumber": 3,
        "axisLabel": {"color": GREY, "fontSize": 11},
        "splitLine": {"lineStyle": {"color": SPLIT}},
        "axisPointer": {"show": False},
    }
    if track.level is not None:
        shown = [value for value in track.values if value is not None] + [track.level]
        axis["min"] = _round_to_span(min(shown), shown, down=True)
        axis["max"] = _round_to_span(max(shown), shown, down=False)
    if track.names:
        axis |= {"min": 0, "interval": 1, "max": max(int(key) for key in track.names)}
        axis["axisLabel"] = axis["axisLabel"] | {"show": False}
    return axis


def _round_to_span(value: float, shown: list[float], *, down: bool) -> float:
    """Leave a little room beyond the outermost value."""
    room = (max(shown) - min(shown)) * 0.1 or abs(value) * 0.1 or 1.0
    if down and min(shown) >= 0:
        return round(max(0.0, value - room), 3)
    return round(value - room if down else value + room, 3)


def _series(
    track: Track, index: int, areas: list[Area], marks: list[Mark], *, named: bool
) -> Options:
    pairs = zip(track.times_ns, track.values, strict=True)
    lines: list[Options] = [_mark(mark, i, named=named) for i, mark in enumerate(marks)]
    if track.level is not None:
        lines.append(_level(track))
    return {
        "name": track.title,
        "type": "line",
        "step": "end" if track.names else False,
        "xAxisIndex": index,
        "yAxisIndex": index,
        "showSymbol": False,
        "connectNulls": False,
        "lineStyle": {"width": 1.6},
        "color": track.color,
        "data": [
            [t // 1_000_000, None if value is None else float(f"{value:.5g}")] for t, value in pairs
        ],
        "markLine": {"symbol": "none", "silent": True, "animation": False, "data": lines},
        "markArea": {
            "silent": True,
            "itemStyle": {"color": FAULT},
            "data": [
                [{"xAxis": a.from_ns // 1_000_000}, {"xAxis": a.to_ns // 1_000_000}] for a in areas
            ],
        },
    }


def _mark(mark: Mark, index: int, *, named: bool) -> Options:
    color = MARK[mark.tone]
    label: Options = {"show": False}
    if named:
        label = {
            "show": True,
            "formatter": mark.label,
            "position": "end",
            "rotate": 0,
            "distance": [0, 2 + 15 * (index % 3)],
            "color": color,
            "fontSize": 11,
            "fontWeight": 500,
        }
    style = {"color": color, "type": "solid", "width": 1.2, "opacity": 0.9}
    return {"xAxis": mark.at_ns // 1_000_000, "lineStyle": style, "label": label}


def _level(track: Track) -> Options:
    label = {
        "show": bool(track.level_label),
        "formatter": track.level_label or number(track.level),
        "position": "insideEndTop",
        "color": GREY,
        "fontSize": 11,
    }
    style = {"color": GREY, "type": "dashed", "width": 1}
    return {"yAxis": track.level, "lineStyle": style, "label": label}


def spark(values: Sequence[float | None], width: float = 100, height: float = 44) -> str:
    """Return the SVG path of a small line; 1.0, the alarm level, lies at a third from the top."""
    points = []
    for i, value in enumerate(values):
        if value is not None:
            x = width * i / max(len(values) - 1, 1)
            y = height * (1 - min(max(value, 0.0), 1.5) / 1.5)
            points.append(f"{x:.1f} {y:.1f}")
    return "M" + " L".join(points) if len(points) > 1 else ""
