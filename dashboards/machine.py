"""One machine: what it measured beside what is normal for it, and what happened to it."""

# ruff: noqa: S608 (the queries are written here and take nothing from outside)

from grafana_foundation_sdk.builders import statetimeline
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
from grafana_foundation_sdk.builders.dashboard import CustomVariable, Dashboard, QueryVariable
from grafana_foundation_sdk.models.common import GraphThresholdsStyleMode, LineInterpolation
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, VariableOption

from dashboards import kit

ITS = "\"device\" = '$device' AND $timeFilter"
NO_SIGNALS = "/^(?!(quality|score|alarm)$).*/"
"""What is stored beside signals."""


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = kit.board("farfix-machine", "Machine", "One machine and its cases.", "now-6h")
    for variable in _choices():
        made = made.with_variable(variable)
    band = CustomVariable("band").label("Normal within").values("10m,1h,6h,1d")
    made = made.with_variable(band.current(VariableOption(selected=True, text="1h", value="1h")))
    for name, color, kinds in (
        ("Faults", kit.RED, "fault"),
        ("Remedies", kit.BLUE, "command|answer"),
        ("Visits", kit.YELLOW, "ticket|visit"),
        ("Ends", kit.GREEN, "end"),
    ):
        made = made.annotation(kit.notes(name, color, kinds, ITS))
    grid = kit.Grid()
    for panel in (*_numbers(grid), _states(grid), *_curves(grid), *_tables(grid), _signal(grid)):
        made = made.with_panel(panel)
    return made


def _choices() -> list[QueryVariable]:
    types = 'SHOW TAG VALUES FROM "farfix_machine" WITH KEY = "machine_type"'
    devices = 'SHOW TAG VALUES FROM "farfix_machine" WITH KEY = "device"'
    signal = kit.choice("signal", "Signals", 'SHOW FIELD KEYS FROM "$machine_type"', several=True)
    return [
        kit.choice("machine_type", "Machine type", types),
        kit.choice("device", "Machine", f"{devices} WHERE \"machine_type\" = '$machine_type'"),
        signal.regex(NO_SIGNALS),
    ]


def _newest(field: str) -> str:
    return f'SELECT last("{field}") FROM "farfix_machine" WHERE {ITS}'


def _numbers(grid: kit.Grid) -> list[kit.Panel]:
    alarm = kit.steps((None, kit.GREEN), (1, kit.RED))
    soon = kit.steps((None, kit.RED), (168, kit.YELLOW), (720, kit.GREEN))
    status = kit.number(
        "Status", "What its newest reading says.", "short", _newest("status"), grid.next(5, 4)
    )
    return [
        status.mappings(kit.status_words()),
        kit.number(
            "Score", "Deviation from healthy running; the alarm level is 1.", "none",
            _newest("score"), grid.next(5, 4), alarm,
        ),
        kit.number(
            "Expected life left", "Running hours until a failure, as the lives of others say.",
            "h", _newest("life_expected_h"), grid.next(5, 4), soon,
        ),
        kit.number(
            "Earliest failure", "One machine in ten fails before.", "h",
            _newest("life_earliest_h"), grid.next(4, 4), soon,
        ),
        kit.number(
            "Time left to restore", "Until the promise about its open case is broken.", "s",
            _newest("restore_left_s"), grid.next(5, 4),
            kit.steps((None, kit.RED), (3600, kit.YELLOW), (4 * 3600, kit.GREEN)),
        ),
    ]  # fmt: skip


def _states(grid: kit.Grid) -> statetimeline.Panel:
    query = f'SELECT max("status") FROM "farfix_machine" WHERE {ITS} GROUP BY time($__interval)'
    made = statetimeline.Panel().title("Status over time").unit("short").interval("1m")
    made = made.description("One look a minute.").grid_pos(grid.next(24, 4))
    made = made.datasource(kit.source_of(query)).mappings(kit.status_words())
    return made.with_target(kit.target(query, "status"))


def _curves(grid: kit.Grid) -> list[kit.Panel]:
    scores = f'FROM "$machine_type" WHERE {ITS} GROUP BY time($__interval) fill(none)'
    lives = f'FROM "farfix_machine" WHERE {ITS} GROUP BY time($__interval) fill(none)'
    score = kit.lines(
        "Deviation from healthy running", "Alarm from 1 on, if it lasts.", "none",
        [
            (f'SELECT max("score") {scores}', "highest"),
            (f'SELECT mean("score") {scores}', "mean"),
        ],
        grid.next(12, 8),
    )  # fmt: skip
    style = GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE)
    life = kit.lines(
        "Life left", "Running hours: expected, and before which one in ten fails.", "h",
        [
            (f'SELECT mean("life_expected_h") {lives}', "expected"),
            (f'SELECT mean("life_earliest_h") {lives}', "earliest"),
        ],
        grid.next(12, 8),
    )  # fmt: skip
    alarm = kit.steps((None, "transparent"), (1, kit.RED))
    return [score.thresholds(alarm).thresholds_style(style).min(0), life.min(0)]


def _tables(grid: kit.Grid) -> list[kit.Panel]:
    console = {"case": "${console}/cases/${__value.raw}"}
    return [
        kit.rows(
            "Cases that ended", "With their outcome and the time from opening to repair.",
            'SELECT "case", "title", "outcome", "time_to_fix_s", "credited" FROM "farfix_case" '
            f"WHERE {ITS} ORDER BY time DESC LIMIT 50",
            grid.next(12, 9), {"time_to_fix_s": "s", "credited": "short"}, console,
        ),
        kit.rows(
            "What happened", "The timeline of its cases, the newest first.",
            'SELECT "kind", "text", "case" FROM "farfix_note" '
            f"WHERE {ITS} ORDER BY time DESC LIMIT 100",
            grid.next(12, 9), {}, console,
        ),
    ]  # fmt: skip


def _signal(grid: kit.Grid) -> kit.Panel:
    """Return the panel that is repeated for each signal chosen.

    No low percentile: where the first span holds too few points for one, InfluxDB 1.6 returns no
    series at all.
    """
    of = f'FROM "$machine_type" WHERE {ITS}'
    healthy = f'{of} AND "alarm" = 0 GROUP BY time($band) fill(previous)'
    made = kit.lines(
        "$signal",
        "The band is the mean of its own readings without alarm, give or take three standard "
        "deviations, span by span; while it is in alarm the band stays as it was.",
        "none",
        [
            (f'SELECT mean("$signal") {of} GROUP BY time($__interval) fill(none)', "$signal"),
            (f'SELECT mean("$signal") - 3 * stddev("$signal") {healthy}', "normal from"),
            (f'SELECT mean("$signal") + 3 * stddev("$signal") {healthy}', "normal to"),
        ],
        grid.next(24, 8),
    )  # fmt: skip
    quiet = [
        DynamicConfigValue("custom.lineWidth", 0),
        DynamicConfigValue("custom.lineInterpolation", LineInterpolation.STEP_AFTER),
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": kit.GREEN}),
        DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
    ]
    below = DynamicConfigValue("custom.fillBelowTo", "normal from")
    opaque = DynamicConfigValue("custom.fillOpacity", 15)
    made = made.override_by_name("normal from", quiet)
    made = made.override_by_name("normal to", [*quiet, below, opaque])
    return made.repeat("signal").max_per_row(2)
