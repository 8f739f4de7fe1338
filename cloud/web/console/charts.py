"""ECharts options from numbers. Pure; colours are chosen to read well on light and dark."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

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


class Point(Struct, frozen=True):
    """A measured value worth a dot and a word."""

    at_ns: int
    value: float
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
    """What the dashed line stands for; told below the title."""
    points: Sequence[Point] = ()
    names: dict[str, str] = {}
    """For modes: number to name; draws steps from name to name."""


MAX_LANES, LANE_PX = 3, 15
HEAD_PX, TRACK_PX, FOOT_PX = 42, 104, 28
NARROW_PX, TITLE_PX, SIDE_PX = 270, 310, 20
"""On a phone: width of a plot, of a title, and the margin beside a plot."""
LETTER_PX, WIDE_PX = 6.2, 11.5
"""Width of a letter on charts, and of a Chinese character."""


def chart(tracks: list[Track], span: Area, areas: list[Area], marks: list[Mark]) -> Options:
    """Return tracks stacked on one time axis, faults shaded, marks named on the first."""
    count, many = len(tracks), len(tracks) > 1
    lanes = _lanes(marks, span)
    named = many or any(mark.label for mark in marks)
    top = LANE_PX * lane_count(marks, span) if named else 10
    return {
        "animation": False,
        "useUTC": True,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": [_grid(i, count, top) for i in range(count)],
        "axisPointer": {"link": [{"xAxisIndex": "all"}], "lineStyle": {"color": GREY}},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "borderWidth": 0,
            "backgroundColor": "rgba(24,32,40,0.92)",
            "textStyle": {"color": "#f2f5f8", "fontSize": 12},
        },
        "title": [_title(t, _top(i, top) if i else 0) for i, t in enumerate(tracks)]
        if many
        else [],
        "xAxis": [_x_axis(i, count, span) for i in range(count)],
        "yAxis": [_y_axis(track, i) for i, track in enumerate(tracks)],
        "series": [
            _series(track, (i, span), areas, marks, None if i else lanes)
            for i, track in enumerate(tracks)
        ]
        + [_level(t, i, span) for i, t in enumerate(tracks) if t.level is not None],
    }


def lane_count(marks: list[Mark], span: Area) -> int:
    """Return how many lines the names of the marks take."""
    return max(_lanes(marks, span), default=-1) + 1


def height_px(tracks: int, lanes: int) -> int:
    """Return how high a chart of several tracks must be."""
    return LANE_PX * lanes + tracks * (HEAD_PX + TRACK_PX) + FOOT_PX


def _top(index: int, top: int) -> int:
    return top + index * (HEAD_PX + TRACK_PX)


def _grid(index: int, count: int, top: int) -> Options:
    if count == 1:
        return {"left": 8, "right": 22, "top": top, "bottom": 4, "containLabel": True}
    return {"left": 52, "right": 20, "top": _top(index, top) + HEAD_PX, "height": TRACK_PX - 8}


def _title(track: Track, top: int) -> Options:
    style = {"fontSize": 12, "color": GREY, "width": TITLE_PX, "overflow": "truncate"}
    return {
        "text": track.title,
        "subtext": track.level_label if track.level is not None else "",
        "left": 4,
        "top": top,
        "itemGap": 2,
        "textStyle": {**style, "fontWeight": 500},
        "subtextStyle": {**style, "fontSize": 11},
    }


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
        "boundaryGap": ["0%", "25%" if track.points else "0%"],  # room for their words
    }
    if track.names:
        names = list(track.names.values())
        axis |= {"type": "category", "data": names, "boundaryGap": True}
    return axis


def _series(
    track: Track,
    place: tuple[int, Area],
    areas: list[Area],
    marks: list[Mark],
    lanes: list[int] | None,
) -> Options:
    index, span = place
    pairs = zip(track.times_ns, map(_plotter(track), track.values), strict=True)
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
        "data": [[time_ns // 1_000_000, value] for time_ns, value in pairs],
        "markLine": {
            "symbol": "none",
            "silent": True,
            "animation": False,
            "data": [
                _mark(mark, span, None if lanes is None else lanes[i])
                for i, mark in enumerate(marks)
            ],
        },
        "markPoint": {
            "silent": True,
            "animation": False,
            "symbol": "circle",
            "symbolSize": 7,
            "data": _points(track.points, span),
        },
        "markArea": {
            "silent": True,
            "itemStyle": {"color": FAULT},
            "data": [
                [{"xAxis": a.from_ns // 1_000_000}, {"xAxis": a.to_ns // 1_000_000}] for a in areas
            ],
        },
    }


def _plotter(track: Track) -> Callable[[float | None], float | None]:
    """Return what turns a value into what is drawn: a rounded number, or the place of a name."""
    places = {key: place for place, key in enumerate(track.names)}

    def plotted(value: float | None) -> float | None:
        if value is None:
            return None
        return places.get(f"{value:g}") if places else float(f"{value:.5g}")

    return plotted


def _level(track: Track, index: int, span: Area) -> Options:
    """Return the dashed line of a level as a series of its own, so that the axis reaches to it."""
    value = None if track.level is None else float(f"{track.level:.4g}")
    return {
        "name": track.level_label,
        "type": "line",
        "xAxisIndex": index,
        "yAxisIndex": index,
        "showSymbol": False,
        "silent": True,
        "color": GREY,
        "lineStyle": {"width": 1.2, "type": "dashed"},
        "data": [[span.from_ns // 1_000_000, value], [span.to_ns // 1_000_000, value]],
    }


def _lanes(marks: list[Mark], span: Area) -> list[int]:
    """Return a height for each mark's name, so that names of close marks do not overlap."""
    free_from: list[float] = []
    lanes = []
    for mark in marks:
        from_px, to_px = _reach(mark, span)
        lane = next((i for i, px in enumerate(free_from) if from_px >= px), len(free_from))
        lane = min(lane, MAX_LANES - 1)
        if lane == len(free_from):
            free_from.append(0)
        free_from[lane] = to_px
        lanes.append(lane)
    return lanes


def _reach(named: Mark | Point, span: Area) -> tuple[float, float]:
    """Return from where to where the name above an instant goes on a phone, in px of its plot."""
    at_px = NARROW_PX * (named.at_ns - span.from_ns) / max(span.to_ns - span.from_ns, 1)
    half_px = sum(LETTER_PX if c.isascii() else WIDE_PX for c in named.label) / 2
    if at_px + half_px > NARROW_PX + SIDE_PX:
        return at_px - 2 * half_px, at_px
    if at_px - half_px < -SIDE_PX:
        return at_px, at_px + 2 * half_px
    return at_px - half_px, at_px + half_px


def _align(named: Mark | Point, span: Area) -> str:
    """Return how a name stands above its instant, so that it stays on the picture."""
    (from_px, to_px), half = _reach(named, span), NARROW_PX / 2
    at_px = NARROW_PX * (named.at_ns - span.from_ns) / max(span.to_ns - span.from_ns, 1)
    if from_px < at_px < to_px:
        return "center"
    return "right" if at_px > half else "left"


def _mark(mark: Mark, span: Area, lane: int | None) -> Options:
    color = MARK[mark.tone]
    label: Options = {"show": False}
    if lane is not None and mark.label:
        label = {
            "show": True,
            "formatter": mark.label,
            "position": "end",
            "rotate": 0,
            "align": _align(mark, span),
            "distance": [0, 2 + LANE_PX * lane],
            "color": color,
            "fontSize": 11,
            "fontWeight": 500,
        }
    style = {"color": color, "type": "solid", "width": 1.2, "opacity": 0.9}
    return {"xAxis": mark.at_ns // 1_000_000, "lineStyle": style, "label": label}


def _points(points: Sequence[Point], span: Area) -> list[Options]:
    """Return dots with their words; where words would lie over each other, only the first's."""
    made, free_from = [], -math.inf
    for point in sorted(points, key=lambda p: p.at_ns):
        from_px, to_px = _reach(point, span)
        made.append(_point(point, span, told=from_px >= free_from))
        free_from = to_px if from_px >= free_from else free_from
    return made


def _point(point: Point, span: Area, *, told: bool) -> Options:
    color = MARK[point.tone]
    return {
        "coord": [point.at_ns // 1_000_000, float(f"{point.value:.5g}")],
        "itemStyle": {"color": color},
        "label": {
            "show": told,
            "formatter": point.label,
            "position": "top",
            "align": _align(point, span),
            "distance": 4,
            "color": color,
            "fontSize": 11,
            "fontWeight": 500,
        },
    }


def spark(times_ns: Sequence[int], values: Sequence[float | None], from_ns: int, to_ns: int) -> str:
    """Return the SVG path of a small line, 100 wide and 44 high.

    Its height is score / (1 + score): never off the picture, and the alarm level in the middle.
    """
    points = []
    for time_ns, value in zip(times_ns, values, strict=True):
        if value is not None:
            x = 100 * (time_ns - from_ns) / (to_ns - from_ns)
            score = max(value, 0.0)
            points.append(f"{x:.1f} {44 - 44 * score / (1 + score):.1f}")
    return "M" + " L".join(points) if len(points) > 1 else ""
