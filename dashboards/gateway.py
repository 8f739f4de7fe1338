"""The gateway itself: what comes in, how far behind it is, what waits and what was given up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards import kit

ITS = 'FROM "farfix_gateway" WHERE $timeFilter'
SPAN = 'GROUP BY time($__interval), "gateway" fill(none)'


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = kit.board("farfix-gateway", "Gateway", "The gateway's own load.", "now-1h")
    grid = kit.Grid()
    for panel in (*_numbers(grid), *_curves(grid)):
        made = made.with_panel(panel.interval("10s"))
    return made


def _numbers(grid: kit.Grid) -> list[kit.Panel]:
    none = kit.steps((None, kit.GREEN), (1, kit.RED))
    late = kit.steps((None, kit.GREEN), (10, kit.YELLOW), (60, kit.RED))
    return [
        kit.number(
            "Readings", "Judged by the detectors.", "cps",
            f'SELECT last("readings_per_s") {ITS}', grid.next(6, 4),
        ),
        kit.number(
            "Lag", "From the measurement to its assessment, plant time.", "s",
            f'SELECT last("lag_s") {ITS}', grid.next(6, 4), late,
        ),
        kit.number(
            "Quarantined", "Messages in the time shown that could not be used.", "short",
            f'SELECT sum("quarantined") {ITS}', grid.next(6, 4), none,
        ),
        kit.number(
            "Deliveries given up", "Webhook deliveries that wait for somebody to replay them.",
            "short", f'SELECT last("deliveries_dead") {ITS}', grid.next(6, 4), none,
        ),
    ]  # fmt: skip


def _curves(grid: kit.Grid) -> list[kit.Panel]:
    def curves(title: str, about: str, unit: str, **fields: str) -> kit.Panel:
        queries = [(f'SELECT {how}("{field}") {ITS} {SPAN}', f"{field} $tag_gateway")
                   for field, how in fields.items()]  # fmt: skip
        return kit.lines(title, about, unit, queries, grid.next(12, 8))

    return [
        curves(
            "Ingest", "Batches taken in, readings judged, rows stored.", "cps",
            batches_per_s="mean", readings_per_s="mean", rows_per_s="mean",
        ),
        curves("Lag", "From the measurement to its assessment.", "s", lag_s="max"),
        curves(
            "Waiting bytes", "In spools of agents, and in journals for the database.", "bytes",
            spool_bytes="max", journal_bytes="max",
        ),
        curves("Oldest in a spool", "Age of the oldest batch.", "s", spool_oldest_s="max"),
        curves(
            "Turned away", "Messages quarantined, rows that the database refused, agents that lose "
            "telemetry.", "short", quarantined="sum", rejected="sum", agents_losing="max",
        ),
        curves(
            "Effects and deliveries", "Decided and not done yet, and given up.", "short",
            outbox_waiting="max", outbox_dead="max", deliveries_waiting="max",
            deliveries_dead="max", measures_waiting="max",
        ),
    ]  # fmt: skip
