"""The service: how fast faults are found and repaired, how often from afar, promises kept."""

# ruff: noqa: S608 (the queries are written here and take nothing from outside)

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards import kit
from dashboards.kit import AT_SITE

ENDS = f'FROM "farfix_case" WHERE {AT_SITE}'
VISITS = f'FROM "farfix_visit" WHERE {AT_SITE}'
EACH_SPAN = "GROUP BY time($__interval)"


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = kit.board("farfix-service", "Service", "What the service centre achieves.", "now-30d")
    made = made.with_variable(kit.site())
    grid = kit.Grid()
    for panel in (*_numbers(grid), *_times(grid), *_reasons(grid), *_promises(grid)):
        made = made.with_panel(panel)
    return made


def _numbers(grid: kit.Grid) -> list[kit.Panel]:
    return [
        kit.number(
            "Cases ended", "In the time shown.", "short", f'SELECT count("case") {ENDS}',
            grid.next(4, 4),
        ),
        kit.number(
            "Time to detect",
            "Median time from the first reading of the alarm, unbroken, to the case's opening. "
            "When the fault itself began nobody knows.",
            "s", f'SELECT percentile("time_to_detect_s", 50) {ENDS}', grid.next(4, 4),
        ),
        kit.number(
            "Time to fix", "Median time from a case's opening to the proof of its repair, or to "
            "the report of one.", "s",
            f'SELECT percentile("time_to_fix_s", 50) {ENDS}', grid.next(4, 4),
        ),
        kit.number(
            "Remote-fix rate", "Share of cases that needed a repair and that a remedy is credited "
            "with.", "percentunit", f'SELECT mean("remote_fix") {ENDS}', grid.next(4, 4),
        ),
        kit.number(
            "First-time fix", "Share of visits that found a fault and repaired it at the first "
            "visit of the case.", "percentunit",
            f'SELECT mean("first_time_fix") {ENDS}', grid.next(4, 4),
        ),
        kit.number(
            "Promises kept", "Share of cases whose machine ran again in time.", "percentunit",
            f'SELECT mean("kept_restore") {ENDS}', grid.next(4, 4),
        ),
    ]  # fmt: skip


def _times(grid: kit.Grid) -> list[kit.Panel]:
    def spread(field: str) -> list[tuple[str, str]]:
        return [
            (f'SELECT percentile("{field}", {share}) {ENDS} {EACH_SPAN} fill(none)', name)
            for share, name in ((50, "half are faster"), (90, "nine in ten are faster"))
        ]

    return [
        kit.lines(
            "Time to detect, over time", "From the first reading of the alarm to the case.", "s",
            spread("time_to_detect_s"), grid.next(12, 8),
        ).interval("1h"),
        kit.lines(
            "Time to fix, over time", "From the case's opening to the repair.", "s",
            spread("time_to_fix_s"), grid.next(12, 8),
        ).interval("1h"),
    ]  # fmt: skip


def _reasons(grid: kit.Grid) -> list[kit.Panel]:
    return [
        kit.lines(
            "How cases ended", "Cases by outcome.", "short",
            [(f'SELECT count("case") {ENDS} {EACH_SPAN}, "outcome" fill(0)', "$tag_outcome")],
            grid.next(12, 8), bars=True,
        ).interval("1h"),
        kit.rows(
            "Tickets by reason", "Why a person had to go.",
            f'SELECT sum("ordered") AS "tickets" {VISITS} GROUP BY "reason"',
            grid.next(6, 8), {"tickets": "short"}, {},
        ),
        kit.rows(
            "Visits by state", "States that visits were seen in.",
            f'SELECT count("ticket") AS "visits" {VISITS} GROUP BY "state"',
            grid.next(6, 8), {"visits": "short"}, {},
        ),
    ]  # fmt: skip


def _promises(grid: kit.Grid) -> list[kit.Panel]:
    open_now = (
        f'SELECT last("restore_left_s") AS "left" FROM "farfix_machine" WHERE {AT_SITE} '
        'AND "case_open" = 1 AND time > now() - 5m'
    )
    return [
        kit.rows(
            "Promises kept, by tier", "Shares of cases responded to and restored in time.",
            'SELECT mean("kept_response") AS "responded", mean("kept_restore") AS "restored" '
            f'{ENDS} GROUP BY "tier"',
            grid.next(8, 8), {"responded": "percentunit", "restored": "percentunit"}, {},
        ),
        kit.rows(
            "Faults", "How often each was found, and how often a remedy is credited.",
            'SELECT count("case") AS "cases", mean("remote_fix") AS "remote" '
            f'{ENDS} GROUP BY "fault"',
            grid.next(8, 8), {"cases": "short", "remote": "percentunit"}, {},
        ),
        kit.rows(
            "Promises running out", "Open cases and the time left to restore.",
            f'{open_now} GROUP BY "device", "tier"', grid.next(8, 8), {"left": "s"},
            {"device": "/d/farfix-machine?var-device=${__value.raw}"},
        ),
    ]  # fmt: skip
