"""One machine: its signals over time with faults marked, its register map, its cases."""

from nicegui import ui
from nicegui.element import Element

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.charts import Area, Mark, Track
from cloud.web.console.firmware import Firmware
from cloud.web.console.frame import frame, live, load, not_found
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
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Rollouts
from cloud.web.rollout_views import RolloutViews
from cloud.web.schemas import CaseBrief, Machine, SignalView, Telemetry
from cloud.web.views import Views
from contract.machines import Role

CHART_EVERY_S = 5.0
POINTS = 240
SPANS = {"15 min": 900, "1 h": 3600, "6 h": 6 * 3600, "24 h": 24 * 3600}
CHARTED = (Role.RESPONSE, Role.DRIVER, Role.MODE)


def install(desk: Desk, views: Views, rollouts: Rollouts, of_rollouts: RolloutViews) -> None:
    """Register the page."""

    @ui.page("/machines/{device}")
    async def machine_page(device: str) -> None:
        with frame(desk, "", device):
            machine = await load(lambda: views.machine(device))
            if machine is None:
                not_found(f"There is no machine {device!r} here.")
                return
            ui.page_title(f"{machine.title} · Farfix")
            head, top = _Head(machine), box("stack")
            plots = _Plots(desk, views, machine)
            Firmware(desk, of_rollouts, rollouts, device, top)
            _registers(machine)
            with box("card"):
                Text("Cases", tag="h2").style("margin-bottom: 8px")
                cases = Section(box())

            async def refresh() -> None:
                seen = await load(lambda: views.machine(device))
                if seen is not None:
                    now_ns = desk.now_ns()
                    head.show(seen, now_ns)
                    plots.show_values(seen)
                    cases.show(tuple(seen.cases), lambda: _cases(seen.cases, now_ns))

            await refresh()
            live(refresh)


class _Head:
    """Name, status and facts."""

    def __init__(self, machine: Machine) -> None:
        with box("stack"):
            with box("crumbs"):
                link("Fleet", "/", "")
                Text("/", tag="span")
                Text(machine.device, tag="span")
            with box("head"):
                with box("stack stack-s"):
                    Text(machine.title, tag="h1", classes="wrap")
                    Text(machine.machine_type_title, "muted")
                with box("row"):
                    self._pill = Pill()
                    self._case = link("", "#", "link")
        self._ahead = Section(box("stack ahead"))
        with box("card facts"):
            self._facts = {
                name: _fact(name)
                for name in ("Deviation", "Latest reading", "Mode", "Firmware", "Site", "Serial")
            }

    def show(self, machine: Machine, now_ns: int) -> None:
        """Set what is known now."""
        tone, icon = TONE[machine.status]
        self._pill.set(tone, icon, machine.status_text)
        self._case.set_visibility(machine.case is not None)
        if machine.case is not None:
            set_prop(self._case, "href", f"/cases/{machine.case.case_id}")
            self._case.text = f"Case: {machine.case.title}"
        self._ahead.show((machine.forecast, tuple(machine.notices)), lambda: _ahead(machine))
        score = words.NONE if machine.score is None else f"{machine.score:.2f} (alarm at 1)"
        if machine.progress < 1 and machine.score is None and machine.last_ns is not None:
            score = f"learning, {words.percent(machine.progress)}"
        place = f"{machine.site}, {machine.address}" if machine.address else machine.site
        age = "none yet" if machine.last_ns is None else words.ago(machine.last_ns, now_ns)
        shown = {
            "Deviation": score,
            "Latest reading": age,
            "Mode": machine.mode or words.NONE,
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
            Text("Remaining life", tag="h2")
            Text(machine.forecast.text, "wrap")
    if machine.notices:
        with box("card next"), box("next-text"):
            Text("Early warning: it stands out among its peers", tag="h2")
            for notice in machine.notices:
                Text(f"{notice.text} Since {words.utc(notice.since_ns)}.", "wrap")
            Text("No case and no remedy follow from this; look at it at the next visit.", "muted")


def _fact(name: str) -> Text:
    with box("stack").style("gap: 0"):
        Text(name, "fact-label")
        return Text("", "fact-value num")


class _Plots:
    """The score on top, then one small chart for each signal; all share one span of time."""

    def __init__(self, desk: Desk, views: Views, machine: Machine) -> None:
        self._desk, self._views, self._machine = desk, views, machine
        self._span_s = SPANS["1 h"]
        self._values: dict[str, Text] = {}
        self._charts: dict[str, ui.echart] = {}
        self._chips: dict[str, Element] = {}
        with box("row between"):
            with box("stack").style("gap: 0"):
                Text("Signals", tag="h2")
                Text("Red: a fault is open. Blue: a remedy. Dashed: expected.", "small muted")
            with box("row"):
                for name in SPANS:
                    self._chips[name] = self._chip(name)
        with box("charts"):
            self._add("score", "Deviation from healthy running")
            for signal in machine.signals:
                if signal.role in CHARTED:
                    self._add(signal.name, signal.title)
        live(self.draw, CHART_EVERY_S, at_once=True)

    def _chip(self, name: str) -> Element:
        chip = Text(name, "chip", tag="button").props('type="button"')
        set_prop(chip, "aria-pressed", "true" if SPANS[name] == self._span_s else "false")

        async def choose() -> None:
            self._span_s = SPANS[name]
            for other, element in self._chips.items():
                set_prop(element, "aria-pressed", "true" if other == name else "false")
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
        span = Area(to_ns - self._span_s * words.NS, to_ns)
        names = [name for name in self._charts if name != "score"]
        found = await load(
            lambda: self._views.telemetry(
                self._machine.device, names, span.from_ns, span.to_ns, POINTS
            )
        )
        if found is None:
            return
        areas, marks = _areas(self._machine.cases, span), _marks(self._machine.cases, span)
        for name, element in self._charts.items():
            track = self._track(name, found)
            element.options.update(charts.chart([track], span, areas, marks))
            element.update()

    def _track(self, name: str, found: Telemetry) -> Track:
        if name == "score":
            return Track(
                title="Deviation",
                times_ns=found.times_ns,
                values=found.score,
                color=charts.SCORE,
                level=1.0,
                level_label="alarm level",
            )
        signal = next(s for s in self._machine.signals if s.name == name)
        return Track(
            title=words.with_unit(signal.title, signal.unit),
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


def _areas(cases: list[CaseBrief], span: Area) -> list[Area]:
    """Return when faults were open, cut to the span."""
    found = []
    for case in cases:
        end_ns = span.to_ns if case.open else case.updated_ns
        if end_ns > span.from_ns:
            found.append(Area(max(case.opened_ns, span.from_ns), min(end_ns, span.to_ns)))
    return found


def _marks(cases: list[CaseBrief], span: Area) -> list[Mark]:
    """Return when cases were opened and remedies carried out, within the span."""
    found = [Mark(case.opened_ns, "", "bad") for case in cases]
    found += [Mark(at_ns, "", "info") for case in cases for at_ns in case.remedies_ns]
    return [mark for mark in found if span.from_ns <= mark.at_ns <= span.to_ns]


def _registers(machine: Machine) -> None:
    with box("card fold"), ui.expansion("Register map").classes("full"), box("scroll"):
        rows = [
            (
                s.title,
                s.name,
                s.register_text or "not on Modbus",
                words.unit(s.unit),
                s.role,
                _range(s),
            )
            for s in machine.signals
        ]
        table(["Signal", "Name", "Register", "Unit", "Role", "Plausible"], rows, mono={1, 2})


def _range(signal: SignalView) -> str:
    return f"{words.number(signal.minimum)} to {words.number(signal.maximum)}"


def _cases(cases: list[CaseBrief], now_ns: int) -> None:
    if not cases:
        empty("task_alt", "No cases", "Nothing has gone wrong with this machine so far.")
        return
    for case in cases:
        with box("case-row"):
            link(case.title, f"/cases/{case.case_id}", "link wrap")
            pill(*PHASE_TONE[case.phase], case.phase_text)
            end_ns = now_ns if case.open else case.updated_ns
            took = words.span((end_ns - case.opened_ns) / words.NS)
            lasted = "still open" if case.open else f"took {took}"
            Text(f"{words.utc(case.opened_ns)} · {lasted}", "small muted num")
