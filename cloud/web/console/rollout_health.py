"""How updated machines fare beside the others, and how much speaks against the release."""

from nicegui import ui

from cloud.web import words
from cloud.web.console.charts import Area, Mark
from cloud.web.console.comparison import comparison
from cloud.web.console.frame import load
from cloud.web.console.parts import Section, Text, box, set_prop
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.rollout_schemas import EvidenceCell, HealthView, RolloutView
from cloud.web.rollout_views import RolloutViews

NEAR, CLOSE = 0.4, 0.75
"""Shares of the evidence that stops the rollout from which the gauge changes its colour."""
CHART_PX = 200


class Comparison:
    """The card about health; away while there is nothing to compare."""

    def __init__(self, desk: Desk, views: RolloutViews, rollout: RolloutView) -> None:
        self._desk, self._views, self._number = desk, views, rollout.number
        self._titles = {"score": t("Deviation from healthy running")}
        machine_type = desk.machines.get(rollout.machine_type)
        for signal in machine_type.signals if machine_type else []:
            self._titles[signal.name] = told(signal.title)
        with box("card stack") as self._card:
            Text(t("Updated machines beside the others"), tag="h2")
            with box("gauge-row"):
                with box("gauge").props('role="meter" aria-valuemin=0 aria-valuemax=100') as gauge:
                    self._fill = box("gauge-fill")
                self._gauge = gauge
                gauge.props["aria-label"] = t("Evidence of harm")
                self._text = Text("", "gauge-text wrap")
            with box("keys small muted"):
                _key("key-updated", t("Updated: median, shaded up to where 9 of 10 lie below"))
                _key("key-control", t("Not updated, the same"))
                _key("key-alarm", t("Alarm level"))
                _key("key-stage", t("First machine of a stage runs the release"))
            self._chart = ui.echart({"series": []}).classes("case-chart")
            self._chart.style(f"height: {CHART_PX}px")
            with ui.expansion(t("Evidence in detail")).classes("full fold"):
                self._cells = Section(box("scroll"))
        self._card.set_visibility(False)

    async def draw(self) -> None:
        """Read the comparison anew."""
        found = await load(lambda: self._views.health(self._number))
        rollout = await load(lambda: self._views.rollout(self._number))
        self._card.set_visibility(found is not None)
        if found is None or rollout is None:
            return
        self._text.text = told(found.text)
        if found.worst:
            most = t("Most of it: {measure}.", measure=self._title(found.worst))
            self._text.text += f" {most}"
        self._fill.style(f"width: {max(found.share * 100, 0.5):.1f}%")
        tone = "ok" if found.share < NEAR else "warn" if found.share < CLOSE else "bad"
        self._gauge.classes(remove="tone-ok tone-warn tone-bad", add=f"tone-{tone}")
        set_prop(self._gauge, "aria-valuenow", f"{found.share * 100:.0f}")
        self._cells.show(repr(found.cells), lambda: _table(found, self._titles))
        self._draw_chart(found, rollout[0])

    def _title(self, measure: str) -> str:
        return self._titles.get(measure, words.phrase(measure))

    def _draw_chart(self, found: HealthView, rollout: RolloutView) -> None:
        self._chart.set_visibility(bool(found.points))
        if not found.points:
            return
        first_ns, last_ns = found.points[0].at_ns, found.points[-1].at_ns
        span = Area(first_ns, max(last_ns, first_ns + words.NS))
        marks = [
            Mark(stage.began_ns, t("Stage {stage}", stage=stage.stage), "info")
            for stage in rollout.funnel
            if stage.began_ns is not None and span.from_ns <= stage.began_ns <= span.to_ns
        ]
        if rollout.stop is not None and rollout.stop.at_ns <= span.to_ns:
            marks.append(Mark(rollout.stop.at_ns, t("Stopped"), "bad"))
        self._chart.options.update(comparison(found.points, span, marks))
        self._chart.update()


def _key(classes: str, text: str) -> None:
    with box("key"):
        box(f"key-mark {classes}")
        Text(text, tag="span")


def _table(found: HealthView, titles: dict[str, str]) -> None:
    """Show each measure's evidence at each look as a share of what stops the rollout."""
    looks = sorted({cell.look for cell in found.cells})
    rows: dict[str, dict[float, EvidenceCell]] = {}
    for cell in found.cells:
        rows.setdefault(cell.measure, {})[cell.look] = cell
    with box("grid evidence-grid", tag="table"):
        with box(tag="tr"):
            Text(t("Measure"), tag="th")
            for look in looks:
                Text(t("after {share} of the soak", share=words.percent(look)), tag="th")
        for measure, cells in rows.items():
            with box(tag="tr"):
                Text(titles.get(measure, words.phrase(measure)), "wrap", tag="td")
                for look in looks:
                    share = cells[look].share if look in cells else 0.0
                    with box(tag="td"):
                        Text(words.percent(share) if share > 0 else t("none"), "num small")
                        with box("meter tone-info"):
                            box("meter-fill").style(f"width: {share * 100:.1f}%")
    about = t(
        "What all updated machines say together, each compared with machines not updated. "
        "At 100 % in any place the rollout stops. Machines to compare with: {count}.",
        count=found.controls,
    )
    Text(about, "muted small more")
