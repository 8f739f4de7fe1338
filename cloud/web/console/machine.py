"""One machine: its signals over time with faults marked, commands, register map, its cases."""

from nicegui import ui
from nicegui.element import Element

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.case_style import style
from cloud.web.console.charts import Area, Mark, Track
from cloud.web.console.commands import Commands
from cloud.web.console.firmware import Firmware
from cloud.web.console.frame import frame, live, load, not_found, page_at
from cloud.web.console.parts import (
    PHASE_TONE,
    TONE,
    Pill,
    Section,
    Text,
    box,
    empty,
    link,
    pill,
    set_prop,
    table,
)
from cloud.web.console.tongue import ago, later, span, t, told, utc
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Rollouts
from cloud.web.rollout_views import RolloutViews
from cloud.web.schemas import CaseBrief, Machine, SignalView, Telemetry
from cloud.web.views import Views
from contract.machines import Role

CHART_EVERY_S = 5.0
POINTS = 240
SPANS_S = (900, 3600, 6 * 3600, 24 * 3600)
FACTS = (
    later("Deviation"),
    later("Latest reading"),
    later("Mode"),
    later("Firmware"),
    later("Site"),
    later("Serial"),
)
CHARTED = (Role.RESPONSE, Role.DRIVER, Role.MODE)


def install(desk: Desk, views: Views, rollouts: Rollouts, of_rollouts: RolloutViews) -> None:
    """Register the page."""

    @page_at("/machines/{device}")
    async def machine_page(device: str) -> None:
        with frame(desk, "", device):
            style()
            machine = await load(lambda: views.machine(device))
            if machine is None:
                not_found(t("There is no machine {device} here.", device=repr(device)))
                return
            ui.page_title(f"{machine.title} · Farfix")
            head, top = _Head(machine), box("stack")
            plots = _Plots(desk, views, machine)
            by_hand = Commands(desk, machine)
            Firmware(desk, of_rollouts, rollouts, device, top)
            _registers(machine)
            with box("card"):
                Text(t("Cases"), tag="h2").style("margin-bottom: 8px")
                cases = Section(box())

            async def refresh() -> None:
                seen = await load(lambda: views.machine(device))
                if seen is not None:
                    now_ns = desk.now_ns()
                    head.show(seen, now_ns)
                    plots.show_values(seen)
                    by_hand.show(seen)
                    cases.show(tuple(seen.cases), lambda: _cases(seen.cases, now_ns))

            await refresh()
            live(refresh)


class _Head:
    """Name, status and facts."""

    def __init__(self, machine: Machine) -> None:
        with box("stack"):
            with box("crumbs", tag="nav"):
                link(t("Fleet"), "/", "")
                Text("/", tag="span")
                Text(machine.device, tag="span")
            with box("head"):
                with box("stack stack-s"):
                    Text(machine.title, tag="h1", classes="wrap")
                    Text(told(machine.machine_type_title), "muted")
                with box("abreast"):
                    self._pill = Pill()
                    self._case = link("", "#", "link")
        self._ahead = Section(box("stack ahead"))
        with box("card facts"):
            self._facts = {name: _fact(told(name)) for name in FACTS}

    def show(self, machine: Machine, now_ns: int) -> None:
        """Set what is known now."""
        tone, icon = TONE[machine.status]
        self._pill.set(tone, icon, told(machine.status_text))
        self._case.set_visibility(machine.case is not None)
        if machine.case is not None:
            set_prop(self._case, "href", f"/cases/{machine.case.case_id}")
            self._case.text = t("Case: {title}", title=told(machine.case.title))
        self._ahead.show((machine.forecast, tuple(machine.notices)), lambda: _ahead(machine))
        score = words.NONE
        if machine.score is not None:
            score = t("{score} (alarm at 1)", score=f"{machine.score:.2f}")
        if machine.progress < 1 and machine.score is None and machine.last_ns is not None:
            score = t("learning, {share}", share=words.percent(machine.progress))
        place = f"{machine.site}, {machine.address}" if machine.address else machine.site
        age = t("none yet") if machine.last_ns is None else ago(machine.last_ns, now_ns)
        shown = {
            "Deviation": score,
            "Latest reading": age,
            "Mode": told(machine.mode) or words.NONE,
            "Firmware": machine.firmware or words.NONE,
            "Site": place,
            "Serial": machine.serial or words.NONE,
        }
        for name, text in shown.items():
            self._facts[name].text = text


def _ahead(machine: Machine) -> None:
    """Say what is coming, where anything is."""
    if machine.forecast is not None:
        with box("card next"), box("next-text"):
            Text(t("Remaining life"), tag="h2")
            Text(told(machine.forecast.text), "wrap")
    if machine.notices:
        with box("card next"), box("next-text"):
            Text(t("Early warning: it stands out among its peers"), tag="h2")
            for notice in machine.notices:
                since = t("Since {time}.", time=utc(notice.since_ns))
                Text(f"{told(notice.text)} {since}", "wrap")
            Text(
                t("No case and no remedy follow from this; look at it at the next visit."), "muted"
            )


def _fact(name: str) -> Text:
    with box("stack").style("gap: 0"):
        Text(name, "fact-label")
        return Text("", "fact-value num")


class _Plots:
    """The score on top, then one small chart for each signal; all share one span of time."""

    def __init__(self, desk: Desk, views: Views, machine: Machine) -> None:
        self._desk, self._views, self._machine = desk, views, machine
        self._span_s = 3600
        self._values: dict[str, Text] = {}
        self._charts: dict[str, ui.echart] = {}
        self._chips: dict[int, Element] = {}
        with box("abreast between"):
            with box("stack").style("gap: 0"):
                Text(t("Signals"), tag="h2")
                Text(t("Red: a fault is open. Blue: a remedy. Dashed: expected."), "small muted")
            with box("abreast"):
                for span_s in SPANS_S:
                    self._chips[span_s] = self._chip(span_s)
        with box("charts"):
            self._add("score", t("Deviation from healthy running"))
            for signal in machine.signals:
                if signal.role in CHARTED:
                    self._add(signal.name, told(signal.title))
        live(self.draw, CHART_EVERY_S, at_once=True)

    def _chip(self, span_s: int) -> Element:
        chip = Text(span(span_s), "chip", tag="button").props('type="button"')
        set_prop(chip, "aria-pressed", "true" if span_s == self._span_s else "false")

        async def choose() -> None:
            self._span_s = span_s
            for other, element in self._chips.items():
                set_prop(element, "aria-pressed", "true" if other == span_s else "false")
            await self.draw()

        chip.on("click", choose)
        return chip

    def _add(self, name: str, title: str) -> None:
        with box("card chart-card"):
            with box("chart-head"):
                Text(title, tag="h3", classes="wrap")
                self._values[name] = Text("", "chart-value")
            self._charts[name] = ui.echart({"series": []}).classes("chart")

    def show_values(self, machine: Machine) -> None:
        """Set the latest values, and remember the cases for the marks."""
        self._machine = machine
        score = machine.score
        self._values["score"].text = words.NONE if score is None else f"{score:.2f}"
        for signal in machine.signals:
            if signal.name in self._values:
                self._values[signal.name].text = _value_text(signal)

    async def draw(self) -> None:
        """Read the span anew and set all charts."""
        to_ns = self._desk.now_ns()
        area = Area(to_ns - self._span_s * words.NS, to_ns)
        names = [name for name in self._charts if name != "score"]
        found = await load(
            lambda: self._views.telemetry(
                self._machine.device, names, area.from_ns, area.to_ns, POINTS
            )
        )
        if found is None:
            return
        areas, marks = _areas(self._machine.cases, area), _marks(self._machine.cases, area)
        for name, element in self._charts.items():
            track = self._track(name, found)
            element.options.update(charts.chart([track], area, areas, marks))
            element.update()

    def _track(self, name: str, found: Telemetry) -> Track:
        if name == "score":
            return Track(
                title=t("Deviation"),
                times_ns=found.times_ns,
                values=found.score,
                color=charts.SCORE,
                level=1.0,
                level_label=t("alarm level"),
            )
        signal = next(s for s in self._machine.signals if s.name == name)
        return Track(
            title=words.with_unit(told(signal.title), signal.unit),
            times_ns=found.times_ns,
            values=found.signals.get(name, [None] * len(found.times_ns)),
            color=charts.LINE if signal.role == Role.RESPONSE else charts.GREY,
            level=signal.expected,
            names=signal.modes,
        )


def _value_text(signal: SignalView) -> str:
    if signal.value is not None and signal.modes:
        return signal.modes.get(str(int(signal.value)), words.number(signal.value))
    return f"{words.number(signal.value)} {words.unit(signal.unit)}".strip()


def _areas(cases: list[CaseBrief], shown: Area) -> list[Area]:
    """Return when faults were open, cut to the shown."""
    found = []
    for case in cases:
        end_ns = shown.to_ns if case.open else case.updated_ns
        if end_ns > shown.from_ns:
            found.append(Area(max(case.opened_ns, shown.from_ns), min(end_ns, shown.to_ns)))
    return found


def _marks(cases: list[CaseBrief], shown: Area) -> list[Mark]:
    """Return when cases were opened and remedies carried out, within the shown."""
    found = [Mark(case.opened_ns, "", "bad") for case in cases]
    found += [Mark(at_ns, "", "info") for case in cases for at_ns in case.remedies_ns]
    return [mark for mark in found if shown.from_ns <= mark.at_ns <= shown.to_ns]


def _registers(machine: Machine) -> None:
    with box("card fold"), ui.expansion(t("Register map")).classes("full"), box("scroll"):
        rows = [
            (
                told(s.title),
                s.name,
                s.register_text or t("not on Modbus"),
                words.unit(s.unit),
                told(str(s.role)),
                _range(s),
            )
            for s in machine.signals
        ]
        heads = [
            t("Signal"), t("Name"), t("Register"), t("Unit"), t("Purpose"), t("Plausible"),
        ]  # fmt: skip
        table(heads, rows, mono={1, 2})


def _range(signal: SignalView) -> str:
    return t(
        "{minimum} to {maximum}",
        minimum=words.number(signal.minimum),
        maximum=words.number(signal.maximum),
    )


def _cases(cases: list[CaseBrief], now_ns: int) -> None:
    if not cases:
        nothing = t("Nothing has gone wrong with this machine so far.")
        empty("task_alt", t("No cases"), nothing)
        return
    for case in cases:
        with box("case-row"):
            link(told(case.title), f"/cases/{case.case_id}", "link wrap")
            pill(*PHASE_TONE[case.phase], told(case.phase_text))
            end_ns = now_ns if case.open else case.updated_ns
            took = span((end_ns - case.opened_ns) / words.NS)
            lasted = t("still open") if case.open else t("took {span}", span=took)
            Text(f"{utc(case.opened_ns)} · {lasted}", "small muted num")
