"""The machines of a rollout: what each one said, what was read from it, and how it is."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.rollout_states import Update, UpdatePhase
from cloud.web import rollout_views, words
from cloud.web.console.parts import Pill, Text, box, cell, empty, set_prop
from cloud.web.console.rollout_parts import UPDATE_TONE, button, machine_href, machine_link
from cloud.web.console.tongue import later, t, told
from cloud.web.rollout_schemas import RolloutView, UpdateView

PAGE = 25
P = UpdatePhase
FILTERS: dict[str, frozenset[UpdatePhase]] = {
    later("All"): frozenset(UpdatePhase),
    later("Trouble"): frozenset({P.FAILED, P.UNCLEAR, P.REVERTING, P.REVERTED}),
    later("Under way"): frozenset({P.OFFERED, P.INSTALLING, P.CHECKING, P.CANCELLING, P.REVERTING}),
    later("Run it"): frozenset(rollout_views.RUNS_IT),
    later("To come"): frozenset({P.WAITING}),
}
HEADS = (
    later("Machine"), later("Stage"), later("State"), later("Installer says"),
    later("Read from it"), later("Health"), later("Last word"),
)  # fmt: skip


class Machines:
    """A table whose rows are set anew, not built anew: nothing moves under the reader's eyes."""

    def __init__(self, rollout: RolloutView) -> None:
        self._filter, self._search, self._page = "All", "", 0
        self._rollout, self._updates = rollout, list[Update]()
        self._chips: dict[str, Element] = {}
        with box("card"):
            Text(t("Machines"), tag="h2").style("margin-bottom: 12px")
            with box("filters"):
                for name in FILTERS:
                    self._chips[name] = self._chip(name)
                search = ui.input(placeholder=t("Search machine or site"))
                search.on_value_change(self._on_search)
                search.props("outlined dense clearable debounce=200")
                search.props["aria-label"] = t("Search")
                search.classes("search")
            with box("scroll").props("tabindex=0"), box("grid folds machines", tag="table"):
                with box(tag="thead"), box(tag="tr"):
                    for head in HEADS:
                        Text(told(head), tag="th")
                with box(tag="tbody") as self._body:
                    self._rows: list[_Row] = []
            self._none = box("more")
            with self._none:
                hint = t("Choose another filter or search.")
                empty("filter_alt_off", t("No machine matches"), hint)
            with box("abreast between more") as self._foot:
                self._where = Text("", "small muted num")
                with box("abreast"):
                    self._back = button(
                        t("Back"), "chevron_left", "btn-side", lambda: self._turn(-1)
                    )
                    self._on = button(t("More"), "chevron_right", "btn-side", lambda: self._turn(1))

    def _chip(self, name: str) -> Element:
        chip = Text(told(name), "chip", tag="button").props('type="button"')
        set_prop(chip, "aria-pressed", "true" if name == self._filter else "false")
        chip.on("click", lambda: self._choose(name))
        return chip

    def _choose(self, name: str) -> None:
        self._filter, self._page = name, 0
        for other, chip in self._chips.items():
            set_prop(chip, "aria-pressed", "true" if other == name else "false")
        self._draw()

    def _on_search(self, event: object) -> None:
        self._search = str(getattr(event, "value", "") or "").strip().casefold()
        self._page = 0
        self._draw()

    def _turn(self, by: int) -> None:
        self._page += by
        self._draw()

    def show(self, rollout: RolloutView, updates: list[Update]) -> None:
        """Set what is known now."""
        self._rollout, self._updates = rollout, updates
        self._draw()

    def _draw(self) -> None:
        wanted = FILTERS[self._filter]
        fit = [
            u
            for u in self._updates
            if u.phase in wanted and self._search in f"{u.device} {u.site}".casefold()
        ]
        fit.sort(key=lambda u: (rollout_views.URGENCY[u.phase], u.stage, u.device))
        self._page = max(0, min(self._page, (len(fit) - 1) // PAGE))
        first = self._page * PAGE
        part = fit[first : first + PAGE]
        with self._body:
            while len(self._rows) < len(part):
                self._rows.append(_Row())
        for i, row in enumerate(self._rows):
            row.show(part[i] if i < len(part) else None, self._rollout)
        self._none.set_visibility(not fit)
        self._foot.set_visibility(len(fit) > PAGE)
        self._where.text = t(
            "{first} to {last} of {count}", first=first + 1, last=first + len(part), count=len(fit)
        )
        self._back.set_enabled(self._page > 0)
        self._on.set_enabled(first + PAGE < len(fit))


class _Row:
    """One line of the table."""

    def __init__(self) -> None:
        with box(tag="tr") as self._row:
            with box(tag="td"):
                self._device = machine_link("")
                self._site = Text("", "small muted")
            with cell(told(HEADS[1])):
                self._stage = Text("", "num")
            with cell(told(HEADS[2])):
                self._state = Pill()
            with cell(told(HEADS[3])):
                self._said = Text("")
            with cell(told(HEADS[4])):
                self._version = Text("", "num nowrap")
                self._from = Text("", "small muted num nowrap")
            with cell(told(HEADS[5])):
                self._health = Text("", "wrap")
            with cell(told(HEADS[6])):
                self._detail = Text("", "wrap detail")
        self._shown: object = None

    def show(self, update: Update | None, rollout: RolloutView) -> None:
        """Set a machine, or hide the line."""
        if update == self._shown:
            return
        self._row.set_visibility(update is not None)
        self._shown = update
        if update is not None:
            self._set(update, rollout)

    def _set(self, update: Update, rollout: RolloutView) -> None:
        looks = len(rollout.order["policy"]["gate"]["looks"])
        view = rollout_views.update_view(update, looks)
        self._device.text = update.device
        set_prop(self._device, "href", machine_href(update.device))
        self._site.text = _site(view)
        self._stage.text = str(view.stage)
        tone, icon = UPDATE_TONE[view.phase]
        self._state.set(tone, icon, told(view.phase_text))
        self._said.text = told(view.report_text) if view.action else words.NONE
        self._version.text = view.version or t("not known")
        self._from.text = _read(view, rollout.version)
        self._health.text = told(view.health_text) or words.NONE
        self._detail.text = told(view.detail) or words.NONE


def _site(view: UpdateView) -> str:
    if not view.hardware:
        return view.site
    return f"{view.site} · {t('hardware {revision}', revision=view.hardware)}"


def _read(view: UpdateView, release: str) -> str:
    if view.version == release and view.from_version not in ("", release):
        return t("was {version}", version=view.from_version)
    return ""
