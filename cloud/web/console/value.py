"""What was saved in a month, counted by the published rule, with the cases behind every line."""

from typing import Any
from urllib.parse import quote

from nicegui import ui

from cloud.core.ledger import Entry, EntryKind, Prices, credit
from cloud.web.console.charts import GREY, LINE, SPLIT
from cloud.web.console.frame import frame, load, page_at
from cloud.web.console.parts import Text, box, cell, empty, link, pill
from cloud.web.console.tongue import later, t, told, utc
from cloud.web.faces import Faces
from cloud.web.value_ports import Report, Sums, Value
from contract.errors import Malformed

LINES_MAX = 200
CHART_MONTHS = 12
ADDRESS = "docs/value.md"
"""Where the rule is published, with the source."""
KINDS = {
    EntryKind.VISIT_AVOIDED: (later("Visit avoided"), "ok", "verified"),
    EntryKind.DOWNTIME_AVOIDED: (later("Downtime avoided"), "ok", "schedule"),
    EntryKind.FIRST_TIME_FIX: (later("First-time fix"), "info", "task_alt"),
    EntryKind.VISIT_WITHDRAWN: (later("Visit called off"), "calm", "undo"),
    EntryKind.UNCREDITED: (later("Recovered, no credit"), "calm", "help_outline"),
    EntryKind.SELF_CLEARED: (later("Cleared by itself"), "calm", "self_improvement"),
    EntryKind.REVERSED: (later("Taken back"), "warn", "history"),
}
TILES = (
    (EntryKind.VISIT_AVOIDED, later("Visits avoided"), "verified"),
    (EntryKind.DOWNTIME_AVOIDED, later("Hours of downtime avoided"), "schedule"),
    (EntryKind.FIRST_TIME_FIX, later("First-time fixes"), "task_alt"),
    (EntryKind.REVERSED, later("Lines taken back"), "history"),
)
RULE = (
    later(
        "A visit counts as avoided only if the machine recovered by a remedy that fresh telemetry "
        "proved, and no visit was ordered."
    ),
    later(
        "Downtime counts only with an avoided visit, for faults of severity high or critical: the "
        "hours that a visit is assumed to take less the hours that the case took."
    ),
    later("A first-time fix is a case's first visit that found a fault and repaired it."),
    later("What cleared by itself, and what no remedy is credited with, counts nothing."),
    later("When the fault returns, every credit is taken back, in the month of the return."),
)


def install(faces: Faces) -> None:
    """Register the page."""

    @page_at("/value")
    async def value_page(month: str = "") -> None:
        with frame(faces.desk, "/value", t("Value")):
            months = await load(faces.value.months)
            report = await load(lambda: _report(faces.value, month, months))
            if report is None:
                _nothing(month)
                return
            _head(report, months)
            _tiles(report)
            _chart(months)
            _lines(report)
            with box("stack stack-xl"):
                _assumptions(report.prices)
                _rule()


def _report(value: Value, month: str, months: list[Sums]) -> Report | None:
    """Read the month that is asked for, or the latest; None: there is no such thing."""
    asked = month or (months[0].month if months else "")
    try:
        return value.report(asked)
    except Malformed:
        return None


def _nothing(month: str) -> None:
    Text(t("Value"), tag="h1")
    if month:
        empty("search_off", t("Not a month"), t("Write year and month, as in 2026-11."))
        link(t("The latest month"), "/value")
    else:
        empty(
            "savings",
            t("Nothing counted yet"),
            t("When a case ends, what it was worth shows here."),
        )
        _rule()


def _head(report: Report, months: list[Sums]) -> None:
    with box("head"):
        with box("stack stack-s"):
            Text(t("Value"), tag="h1")
            about = t(
                "{count} cases ended in {month} (UTC).", count=report.cases, month=report.month
            )
            Text(about, "muted")
        with box("abreast"):
            names = sorted({sums.month for sums in months} | {report.month}, reverse=True)
            chosen = ui.select(names, label=t("Month"), value=report.month)
            chosen.props("outlined dense options-dense").style("min-width: 130px")
            chosen.on_value_change(lambda event: ui.navigate.to(f"/value?month={event.value}"))
            for name in ("csv", "pdf"):
                made = link(name.upper(), f"/api/value/{report.month}/{name}")
                made.props["download"] = f"farfix-value-{report.month}.{name}"


def _tiles(report: Report) -> None:
    with box("tiles"):
        for kind, word, icon in TILES:
            _tile(_figure(report.counts.get(kind, 0.0)), told(word), icon)
        if any(report.amounts.values()):
            amount = f"{sum(report.amounts.values()):,.0f}"
            _tile(amount, t("{currency}, as assumed", currency=report.prices.currency), "payments")


def _tile(value: str, label: str, icon: str) -> None:
    with box("tile"):
        Text(value, "tile-value")
        with box("tile-label"):
            ui.icon(icon)
            Text(label, tag="span")


def _figure(count: float) -> str:
    return f"{count:.1f}".removesuffix(".0")


def _chart(months: list[Sums]) -> None:
    shown = months[:CHART_MONTHS][::-1]
    if not shown:
        return
    with box("card stack"):
        Text(t("By month, what was taken back subtracted"), tag="h2")
        bars = {
            t("Visits avoided"): (EntryKind.VISIT_AVOIDED, LINE),
            t("First-time fixes"): (EntryKind.FIRST_TIME_FIX, "#7a6bd0"),
        }
        said = "; ".join(
            f"{sums.month}: "
            + ", ".join(f"{name} {_figure(sums.counts.get(k, 0))}" for name, (k, _) in bars.items())
            for sums in shown
        )
        plot = ui.echart(_bars(shown, bars)).style("height: 220px; width: 100%")
        plot.props("role=img").props["aria-label"] = said


def _bars(shown: list[Sums], bars: dict[str, tuple[EntryKind, str]]) -> dict[str, Any]:
    axis = {"axisLine": {"lineStyle": {"color": GREY}}, "axisLabel": {"color": GREY}}
    split = {"splitLine": {"lineStyle": {"color": SPLIT}}}
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": {"left": 8, "right": 8, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "textStyle": {"color": GREY}},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {"type": "category", "data": [sums.month for sums in shown], **axis},
        "yAxis": {"type": "value", "minInterval": 1, **axis, **split},
        "series": [
            {
                "name": name,
                "type": "bar",
                "barMaxWidth": 32,
                "itemStyle": {"color": color, "borderRadius": 3},
                "data": [sums.counts.get(kind, 0.0) for sums in shown],
            }
            for name, (kind, color) in bars.items()
        ],
    }


def _lines(report: Report) -> None:
    with box("card stack"):
        Text(t("Lines"), tag="h2")
        if not report.entries:
            Text(t("Nothing was counted in this month."), "muted")
            return
        _table(report.entries[::-1][:LINES_MAX])
        left = len(report.entries) - LINES_MAX
        if left > 0:
            Text(t("{count} older lines are in the CSV.", count=left), "muted small")


def _table(entries: list[Entry]) -> None:
    with box("scroll").props("tabindex=0"), box("grid folds", tag="table"):
        with box(tag="thead"), box(tag="tr"):
            for head in (t("Time"), t("What"), t("Count"), t("Amount"), t("Case"), t("Why")):
                Text(head, "right" if head in (t("Count"), t("Amount")) else "", tag="th")
        with box(tag="tbody"):
            for entry in entries:
                with box(tag="tr"):
                    _row(entry)


def _row(entry: Entry) -> None:
    Text(utc(entry.at_ns), "num small", tag="td").style("white-space: nowrap")
    with box(tag="td"):
        word, tone, icon = KINDS[entry.kind]
        pill(tone, icon, told(word))
    unit = " h" if "downtime_avoided" in (entry.kind, entry.reverses.rpartition("/")[2]) else ""
    with cell(t("Count"), "right nowrap"):
        Text(f"{_figure(entry.count)}{unit}")
    with cell(t("Amount"), "right nowrap"):
        Text(_amount(entry))
    with cell(t("Case")).style("min-width: 170px"):
        link(entry.case_id, f"/cases/{quote(entry.case_id)}", "link wrap")
        Text(f"{entry.device}, {entry.site}", "muted small wrap")
    with box(tag="td"):
        Text(told(entry.text), "wrap").style("min-width: 220px")
        if entry.assumptions:
            said = entry.assumptions.items()
            assumed = ", ".join(f"{told(name)} {value:g}" for name, value in said)
            Text(t("Counted with {assumed}", assumed=assumed), "muted small wrap")


def _amount(entry: Entry) -> str:
    if entry.amount == 0.0 and not credit(entry):
        return t("no credit")
    return "" if entry.amount is None else f"{entry.amount:,.2f} {entry.currency}"


def _assumptions(prices: Prices) -> None:
    with box("card stack"):
        Text(t("What is assumed"), tag="h2")
        about = t(
            "Set by whoever runs the gateway, not measured. Every line says what it was counted "
            "with; a price that is changed later changes no line."
        )
        Text(about, "muted")
        unset = t("not set: nothing is priced")
        with box("facts facts-wide"):
            for word, value, unit in (
                (t("One avoided visit"), prices.visit, prices.currency),
                (t("Hours until a visit has repaired a machine"), prices.downtime_h_per_visit, "h"),
                (t("One hour of a machine that stands"), prices.downtime_per_hour, prices.currency),
            ):
                with box("stack stack-s"):
                    Text(word, "muted small")
                    Text(unset if value is None else f"{value:g} {unit}", "num")


def _rule() -> None:
    with box("card stack"):
        Text(t("How it is counted"), tag="h2")
        with box("stack stack-s", tag="ul").style("padding-left: 20px"):
            for sentence in RULE:
                Text(told(sentence), tag="li")
        where = t("The whole rule stands in {file}.", file="docs/value.md")
        Text(where, "muted small")
