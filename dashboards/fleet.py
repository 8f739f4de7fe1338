"""The fleet: where each machine stands, which are worst, and what the gateway made of it."""

# ruff: noqa: S608 (the queries are written here and take nothing from outside)

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards import kit
from dashboards.kit import AT_SITE

MACHINE_URL = "/d/farfix-machine?var-device=${__field.labels.device}"


def _latest(field: str) -> str:
    """Return a query for the sum of a field's newest values of all machines."""
    newest = f'SELECT last("{field}") AS "{field}" FROM "farfix_machine" WHERE {AT_SITE}'
    return f'SELECT sum("{field}") FROM ({newest} GROUP BY "device")'


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = kit.board("farfix-fleet", "Fleet", "All machines and their cases.", "now-6h")
    made = made.with_variable(kit.site())
    made = made.annotation(kit.notes("Faults", kit.RED, "fault", AT_SITE))
    grid = kit.Grid()
    for panel in (*_numbers(grid), *_tables(grid), *_curves(grid)):
        made = made.with_panel(panel)
    return made


def _numbers(grid: kit.Grid) -> list[kit.Panel]:
    alarm = kit.steps((None, kit.GREEN), (1, kit.RED))
    waiting = kit.steps((None, kit.GREEN), (1, kit.YELLOW))
    newest = f'SELECT last("status") AS "status" FROM "farfix_machine" WHERE {AT_SITE}'
    return [
        kit.number(
            "Machines", "Machines that this gateway looks after.", "short",
            f'SELECT count("status") FROM ({newest} GROUP BY "device")', grid.next(4, 4),
        ),
        kit.number(
            "In alarm", "Machines whose newest reading is in alarm.", "short",
            _latest("in_alarm"), grid.next(4, 4), alarm,
        ),
        kit.number(
            "Without data", "Machines that have not been heard lately.", "short",
            _latest("silent"), grid.next(4, 4), waiting,
        ),
        kit.number(
            "Open cases", "Machines with an open case.", "short",
            _latest("case_open"), grid.next(4, 4), waiting,
        ),
        kit.number(
            "Remote-fix rate",
            "Share of cases that a remedy is credited with, of all that ended in the time shown "
            "and needed a repair: not those that cleared themselves, were wrong or called off.",
            "percentunit",
            f'SELECT mean("remote_fix") FROM "farfix_case" WHERE {AT_SITE}', grid.next(4, 4),
        ),
        kit.number(
            "Visits ordered", "Tickets opened in the time shown.", "short",
            f'SELECT sum("ordered") FROM "farfix_visit" WHERE {AT_SITE}', grid.next(4, 4),
        ),
    ]  # fmt: skip


def _tables(grid: kit.Grid) -> list[kit.Panel]:
    status = kit.tiles(
        "Status map", "Where each machine stands now; a click shows the machine.",
        f'SELECT last("status") FROM "farfix_machine" WHERE {AT_SITE} GROUP BY "device"',
        grid.next(24, 7), MACHINE_URL,
    )  # fmt: skip
    worst = kit.rows(
        "Worst machines", "By their newest score; the alarm level is 1.",
        f'SELECT last("score") AS "score" FROM "farfix_machine" WHERE {AT_SITE} '
        'GROUP BY "device", "machine_type"',
        grid.next(10, 9), {"score": "none"},
        {"device": "/d/farfix-machine?var-device=${__value.raw}"},
    )  # fmt: skip
    newest = (
        'SELECT last("case") AS "case", last("case_open") AS "open", '
        f'last("restore_left_s") AS "restore_left_s" FROM "farfix_machine" WHERE {AT_SITE}'
    )
    cases = kit.rows(
        "Open cases", "What is open now, and the time left until the machine must run again.",
        f'SELECT "case", "restore_left_s" FROM ({newest} GROUP BY "device") '
        'WHERE "open" = 1 GROUP BY "device"',
        grid.next(14, 9), {"restore_left_s": "s"}, {"case": "${console}/cases/${__value.raw}"},
    )  # fmt: skip
    return [status, kit.sorted_by(worst, "score", 15), cases]


def _curves(grid: kit.Grid) -> list[kit.Panel]:
    def at_once(field: str) -> str:
        each = f'SELECT max("{field}") AS "{field}" FROM "farfix_machine" WHERE {AT_SITE} '
        each += 'GROUP BY time($__interval), "device"'
        return f'SELECT sum("{field}") FROM ({each}) WHERE $timeFilter GROUP BY time($__interval)'

    over_time = kit.lines(
        "In alarm and with a case", "Machines at the same time; one look a minute.", "short",
        [(at_once("in_alarm"), "in alarm"), (at_once("case_open"), "open case")],
        grid.next(24, 8),
    )  # fmt: skip
    return [over_time.interval("1m")]
