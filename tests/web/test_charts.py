"""Charts as data, times as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.web import words
from cloud.web.console import charts, tongue
from cloud.web.console.charts import Area, Mark, Point, Track
from cloud.web.schemas import DeviationView

S = 10**9
SPAN = Area(0, 1000 * S)
values = st.none() | st.floats(-5, 1e9, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 1000), values), max_size=50))
def test_a_spark_never_leaves_its_picture(points: list[tuple[int, float | None]]) -> None:
    path = charts.spark([t * S for t, _ in points], [v for _, v in points], 0, 1000 * S)
    if path:
        for pair in path[1:].split(" L"):
            x, y = map(float, pair.split())
            assert 0 <= x <= 100
            assert 0 <= y <= 44


def test_a_spark_shows_the_alarm_level_in_the_middle() -> None:
    assert charts.spark([0, S], [1.0, 1.0], 0, S) == "M0.0 22.0 L100.0 22.0"
    assert charts.spark([0], [1.0], 0, S) == "", "one point is no line"


def test_names_of_close_marks_do_not_share_a_line() -> None:
    marks = [Mark(at * S, str(at), "info") for at in (100, 150, 900)]
    option = charts.chart([Track(title="a", times_ns=[], values=[])] * 2, SPAN, [], marks)
    first, second = option["series"][:2]
    heights = [line["label"]["distance"][1] for line in first["markLine"]["data"]]
    assert heights[0] != heights[1]
    assert heights[2] == heights[0]
    assert not any(line["label"]["show"] for line in second["markLine"]["data"])
    assert charts.lane_count(marks, SPAN) == 2


def test_modes_are_drawn_by_name() -> None:
    track = Track(
        title="m", times_ns=[0, S, 2 * S], values=[2.0, None, 7.0], names={"0": "off", "2": "run"}
    )
    option = charts.chart([track], SPAN, [], [])
    assert option["yAxis"][0]["data"] == ["off", "run"]
    assert [value for _, value in option["series"][0]["data"]] == [1, None, None]


def test_a_level_reaches_over_the_whole_span() -> None:
    track = Track(title="s", times_ns=[], values=[], level=1.0, level_label="alarm")
    line = charts.chart([track], SPAN, [], [])["series"][1]
    assert line["data"] == [[0, 1.0], [1_000_000, 1.0]]


@pytest.mark.parametrize(
    ("ns", "now_ns", "said"),
    [
        (0, 0, "now"),
        (0, 42 * S, "42 s ago"),
        (0, 61 * S, "1 min ago"),
        (7500 * S, 0, "in 2 h 5 min"),
        (0, 7200 * S, "2 h ago"),
        (0, 5 * 86400 * S, "5 days ago"),
    ],
)
def test_times_are_told_from_now(ns: int, now_ns: int, said: str) -> None:
    assert tongue.ago(ns, now_ns) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, words.NONE),
        (3.0, "3"),
        (0.123456, "0.1235"),
        (-12345.678, "-1.235e+04"),
        (1e7, "1e+07"),
    ],
)
def test_numbers_are_short(value: float | None, said: str) -> None:
    assert words.number(value) == said


def test_times_are_utc() -> None:
    assert words.utc(1_795_330_800 * S) == "22 Nov 2026 07:00:00 UTC"
    assert words.clock(1_795_330_800 * S + 1) == "07:00:00"


def test_points_are_dots_with_a_word_on_their_own_line() -> None:
    track = Track(title="s", times_ns=[], values=[], points=[Point(S, 2.4, "2.40 before", "info")])
    option = charts.chart([track, Track(title="t", times_ns=[], values=[])], SPAN, [], [])
    (point,) = option["series"][0]["markPoint"]["data"]
    assert point["coord"] == [1000, 2.4]
    assert point["label"]["formatter"] == "2.40 before"
    assert option["series"][1]["markPoint"]["data"] == []


def test_a_deviation_is_told_as_measured_against_expected() -> None:
    seen = DeviationView(
        signal="t", title="Oil", unit="degC", direction="above", sigmas=9, value=61, expected=40.25
    )
    assert words.deviation(seen) == "Oil: 9.0 σ above, 61 °C where 40.25 is expected"  # noqa: RUF001
    assert words.deviation(seen.model_copy(update={"value": None})) == "Oil: 9.0 σ above"  # noqa: RUF001


def test_a_single_chart_leaves_room_for_the_names_of_its_marks() -> None:
    track = Track(title="s", times_ns=[], values=[])
    bare = charts.chart([track], SPAN, [], [Mark(S, "", "bad")])["grid"][0]["top"]
    assert charts.chart([track], SPAN, [], [Mark(S, "Detected", "bad")])["grid"][0]["top"] > bare


def test_names_fit_on_a_phone() -> None:
    long = "Closed by the technician's report"
    near = [Mark(300 * S, "Detected", "bad"), Mark(600 * S, long, "ok")]
    assert charts.lane_count(near, SPAN) == 2, "a long name needs more room"
    assert charts.lane_count([near[0], Mark(600 * S, "Sent", "info")], SPAN) == 1
    ends = [Mark(at * S, long, "ok") for at in (0, 500, 1000)]
    option = charts.chart([Track(title="a", times_ns=[], values=[])], SPAN, [], ends)
    lines = option["series"][0]["markLine"]["data"]
    assert [line["label"]["align"] for line in lines] == ["left", "center", "right"]


def test_words_of_close_points_do_not_lie_over_each_other() -> None:
    points = [Point(at * S, 1.0, "+6.0 s", "bad") for at in (310, 300, 900)]
    track = Track(title="s", times_ns=[], values=[], points=points)
    option = charts.chart([track], SPAN, [], [])
    data = option["series"][0]["markPoint"]["data"]
    assert [(p["coord"][0], p["label"]["show"]) for p in data] == [
        (300_000, True), (310_000, False), (900_000, True),
    ]  # fmt: skip
    assert option["yAxis"][0]["boundaryGap"][1] != "0%", "words have room above their dots"
