"""The first page: every machine, the most urgent first, alive."""

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element

from cloud.web import words
from cloud.web.console import charts
from cloud.web.console.frame import frame, live, load
from cloud.web.console.parts import TONE, Pill, Text, box, empty, link, set_prop
from cloud.web.ports import Desk
from cloud.web.schemas import Fleet, FleetMachine, FleetSummary, Status
from cloud.web.views import Views

SPARK_EVERY_S = 10.0
SPARK_SPAN_NS = 3600 * words.NS
SPARK_POINTS = 80
ORDER = list(Status)

FILTERS: dict[str, frozenset[Status]] = {
    "All": frozenset(Status),
    "Needs people": frozenset({Status.APPROVAL, Status.TICKET, Status.SILENT}),
    "Being fixed": frozenset({Status.FIXING, Status.APPROVAL, Status.ALARM}),
    "Healthy": frozenset({Status.HEALTHY}),
}
TILES = {
    "machines": ("Machines", "precision_manufacturing", "calm"),
    "healthy": ("Healthy", "check_circle", "ok"),
    "being_fixed": ("Being fixed", "build_circle", "info"),
    "awaiting_approval": ("Need approval", "back_hand", "ask"),
    "tickets": ("Open tickets", "engineering", "bad"),
    "fixed_remotely": ("Fixed remotely", "verified", "ok"),
    "self_cleared": ("Self-cleared", "self_improvement", "ok"),
}


class Tiles:
    """The fleet in numbers."""

    def __init__(self) -> None:
        self._values = {}
        with box("tiles"):
            for field, (label, icon, tone) in TILES.items():
                with box("tile"):
                    self._values[field] = Text("", "tile-value")
                    with box("tile-label"):
                        ui.icon(icon).classes(f"tone-{tone}")
                        Text(label, tag="span")

    def show(self, summary: FleetSummary) -> None:
        """Set the numbers."""
        for field, text in self._values.items():
            text.text = str(getattr(summary, field))


class Card:
    """One machine. Built once; afterwards only its values change."""

    def __init__(self, machine: FleetMachine) -> None:
        self.status, self.machine_type = machine.status, machine.machine_type
        self.text = f"{machine.title} {machine.device} {machine.site} {machine.machine_type_title}"
        self.root = box("card machine")
        with self.root:
            with box("machine-top"):
                with box("stack stack-s"):
                    link(machine.title, f"/machines/{machine.device}", "machine-name")
                    Text(f"{machine.device} · {machine.site}", "muted small")
                self._pill = Pill()
            Text(machine.machine_type_title, "muted small clip")
            self._svg = box("spark", tag="svg")
            self._svg.props('viewBox="0 0 100 44" preserveAspectRatio="none" aria-hidden="true"')
            with self._svg:
                ui.element("line").props("x1=0 x2=100 y1=22 y2=22")
                self._spark = ui.element("path").props('d=""')
            with box("stack stack-s"):
                with box("meter tone-calm") as self._meter:
                    self._fill = box("meter-fill")
                with box("machine-foot num"):
                    self._score = Text()
                    self._age = Text()
            with link("", "#", "case-strip") as self._strip:
                with box("stack").style("gap: 0"):
                    self._fault = Text("", "wrap")
                    self._phase = Text("", "small muted")
                ui.icon("chevron_right")

    def show(self, machine: FleetMachine, now_ns: int) -> None:
        """Set what is known now."""
        self.status = machine.status
        tone, icon = TONE[machine.status]
        self._pill.set(tone, icon, machine.status_text)
        self.root.style(f"order: {ORDER.index(machine.status)}")
        learning = machine.status is Status.LEARNING
        self._meter.set_visibility(learning)
        self._svg.set_visibility(not learning)
        self._fill.style(f"width: {machine.progress * 100:.0f}%")
        over = machine.score is not None and machine.score >= 1
        self._svg.classes(add="over") if over else self._svg.classes(remove="over")
        if learning:
            self._score.text = f"Learning healthy running: {words.percent(machine.progress)}"
        elif machine.score is None:
            self._score.text = "No score"
        else:
            self._score.text = f"Deviation {machine.score:.2f} (alarm at 1)"
        age = "no reading yet" if machine.last_ns is None else words.ago(machine.last_ns, now_ns)
        self._age.text = age
        self._strip.set_visibility(machine.case is not None)
        if machine.case is not None:
            case = machine.case
            set_prop(self._strip, "href", f"/cases/{case.case_id}")
            self._fault.text = f"{case.title} ({words.percent(case.probability)})"
            since = words.ago(case.opened_ns, now_ns)
            self._phase.text = f"{case.phase_text} · since {since}".replace(" ago", "")

    def draw(self, path: str) -> None:
        """Set the small line."""
        set_prop(self._spark, "d", path)


class Board:
    """All cards, with the filter that shows some of them."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self._filter, self._search = "All", ""
        self._chips: dict[str, Element] = {}
        with box("filters"):
            for name in FILTERS:
                self._chips[name] = self._chip(name)
            search = ui.input(placeholder="Search machine or site", on_change=self._on_search)
            search.props('outlined dense clearable debounce=200 aria-label="Search"')
            search.classes("search")
        self._grid = box("fleet")
        self._none = box()
        with self._none:
            empty("filter_alt_off", "No machine matches", "Choose another filter or search.")
        self._none.set_visibility(False)

    def _chip(self, name: str) -> Element:
        chip = Text(name, "chip", tag="button").props('type="button"')
        chip.on("click", lambda: self._choose(name))
        set_prop(chip, "aria-pressed", "true" if name == self._filter else "false")
        return chip

    def _choose(self, name: str) -> None:
        self._filter = name
        for other, chip in self._chips.items():
            set_prop(chip, "aria-pressed", "true" if other == name else "false")
        self._apply()

    def _on_search(self, event: object) -> None:
        self._search = str(getattr(event, "value", "") or "").strip().casefold()
        self._apply()

    def show(self, fleet: Fleet) -> None:
        """Set all cards, and add those of new machines."""
        for machine in fleet.machines:
            if machine.device not in self.cards:
                with self._grid:
                    self.cards[machine.device] = Card(machine)
            self.cards[machine.device].show(machine, fleet.now_ns)
        self._apply()

    def _apply(self) -> None:
        shown = 0
        for card in self.cards.values():
            fits = card.status in FILTERS[self._filter] and self._search in card.text.casefold()
            card.root.set_visibility(fits)
            shown += fits
        self._none.set_visibility(bool(self.cards) and not shown)


def install(desk: Desk, views: Views) -> None:
    """Register the page."""

    @ui.page("/")
    async def fleet_page() -> None:
        with frame(desk, "/", "Fleet"):
            Text("Fleet", tag="h1", classes="sr")
            fleet = await load(views.fleet)
            tiles = Tiles()
            tiles.show(fleet.summary)
            if not fleet.machines:
                empty(
                    "precision_manufacturing",
                    "No machines yet",
                    "List them under [[assets]] in the gateway's configuration, then restart it.",
                )
                return
            board = Board()
            board.show(fleet)
            _keep_alive(desk, views, tiles, board)


def _keep_alive(desk: Desk, views: Views, tiles: Tiles, board: Board) -> None:
    async def refresh() -> None:
        fleet = await load(views.fleet)
        tiles.show(fleet.summary)
        board.show(fleet)

    async def sparks() -> None:
        for device, card in list(board.cards.items()):
            card.draw(await load(_spark_reader(desk, device, card.machine_type)))

    live(refresh)
    live(sparks, SPARK_EVERY_S, at_once=True)


def _spark_reader(desk: Desk, device: str, machine_type: str) -> Callable[[], str]:
    def read() -> str:
        now_ns = desk.now_ns()
        span = (now_ns - SPARK_SPAN_NS, now_ns, SPARK_POINTS)
        found = desk.series.read(machine_type, device, ["score"], *span)
        return charts.spark(found.times_ns, found.columns["score"], *span[:2])

    return read
