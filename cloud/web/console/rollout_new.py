"""A new rollout: choose release and machines, see which ones each stage would take, begin."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from nicegui import ui

from cloud.core.rollout_states import (
    DEFAULT_POLICY,
    Candidate,
    Order,
    Selection,
    Window,
)
from cloud.web import rollout_views, rollout_words, words
from cloud.web.console import tongue
from cloud.web.console.frame import frame, load, page_at
from cloud.web.console.parts import Section, Text, box, dot, empty, link, pill
from cloud.web.console.rollout_parts import ask, button, machine_link, machines
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Kept, Rollouts
from cloud.web.rollout_schemas import PreviewView
from contract.errors import FarfixError

NAMES_SHOWN, REASONS_SHOWN = 24, 6
DEFAULT_STAGES = ", ".join(
    str(s.count) if s.count else f"{s.percent:g}%" for s in DEFAULT_POLICY.stages
)


def install(desk: Desk, rollouts: Rollouts) -> None:
    """Register the page."""

    @page_at("/rollouts/new")
    async def new_page(machine_type: str = "", version: str = "") -> None:
        with frame(desk, "/rollouts", t("New rollout")):
            with box("stack"):
                with box("crumbs"):
                    link(t("Rollouts"), "/rollouts", "")
                    Text("/", tag="span")
                    Text(t("New"), tag="span")
                Text(t("New rollout"), tag="h1")
            offered = [k for k in await load(rollouts.kept) if not k.barred]
            if not offered:
                empty(
                    "inventory_2",
                    t("No release to roll out"),
                    t("Sign and publish one with 'farfix release', then come back."),
                )
                return
            form = _Form(rollouts, offered)
            await form.choose(f"{machine_type} {version}")


class _Form:
    """The fields on the left, what would come of them on the right."""

    def __init__(self, rollouts: Rollouts, offered: list[Kept]) -> None:
        self._rollouts = rollouts
        self._offered = {f"{k.release.machine_type} {k.release.version}": k for k in offered}
        self._machines: list[Candidate] = []
        self._asked = 0
        self._host = box("host")
        with box("two form"):
            with box("card stack stack-l"):
                self._build_fields()
            with box("stack stack-l"):
                self._preview = Section(box("card stack"))

    def _build_fields(self) -> None:
        titles = {
            key: f"{told(words.phrase(k.release.machine_type))} {k.release.version}"
            for key, k in self._offered.items()
        }
        self._release = ui.select(
            titles, label=t("Release to bring out"), on_change=self._changed_release
        )
        self._release.props("outlined dense")
        self._title = _text(t("What it is for (a title)"), "maxlength=200")
        Text(t("Which machines"), tag="h2", classes="h3")
        Text(t("Every field that is filled must fit; empty fields fit all."), "muted small")
        self._fields = {
            name: _many(label, self._changed)
            for name, label in {
                "sites": t("Sites"),
                "labels": t("Labels, all of them"),
                "hardware": t("Hardware revisions"),
                "versions": t("Versions that run now"),
                "devices": t("Single machines"),
            }.items()
        }
        Text(t("How carefully"), tag="h2", classes="h3")
        self._stages = _text(t("Stages: machines or percent, all so far together"), "debounce=300")
        self._stages.value = DEFAULT_STAGES
        self._soak = _text(t("Each stage is watched for"), "debounce=300")
        self._soak.value = "1h"
        for field in (self._stages, self._soak):
            field.on_value_change(self._changed)
        self._windowed = ui.switch(t("Begin machines only in a maintenance window"))
        with box("window-fields") as fields:
            self._start = _text(t("Opens at"), 'mask="##:##" debounce=300')
            self._hours = _text(t("Hours"), "inputmode=decimal debounce=300")
            self._zone = _text(t("Time zone"), "debounce=300")
        for field, value in ((self._start, "22:00"), (self._hours, "6"), (self._zone, "UTC")):
            field.value = value
            field.on_value_change(self._changed)
        fields.bind_visibility_from(self._windowed, "value")
        self._windowed.on_value_change(self._changed)
        self._revert = ui.switch(t("A stop brings updated machines back"), value=True)
        self._revert.on_value_change(self._changed)

    async def choose(self, key: str) -> None:
        """Begin with a release; an unknown one means the first."""
        self._release.value = key if key in self._offered else next(iter(self._offered))
        await self._changed_release()

    async def _changed_release(self) -> None:
        kept = self._offered[str(self._release.value)]
        found = await load(lambda: self._rollouts.candidates(kept.release.machine_type))
        self._machines = found
        options: dict[str, set[Any]] = {
            "sites": {c.site for c in found},
            "labels": {label for c in found for label in c.labels},
            "hardware": {c.hardware for c in found if c.hardware},
            "versions": {c.version for c in found if c.version},
            "devices": {c.device for c in found},
        }
        for name, field in self._fields.items():
            values = sorted(options[name])
            field.set_options(values, value=[v for v in field.value or [] if v in options[name]])
        await self._changed()

    def order(self) -> Order:
        """Return what the fields say.

        Raises:
            Malformed: a field cannot be read; says which.
        """
        kept = self._offered[str(self._release.value)]
        soak_s = rollout_words.duration_s(str(self._soak.value or ""))
        stages = rollout_words.stages(str(self._stages.value or ""), soak_s)
        window = self._window() if self._windowed.value else None
        policy = replace(
            DEFAULT_POLICY, stages=stages, window=window, revert=bool(self._revert.value)
        )
        chosen = {name: list(field.value or []) for name, field in self._fields.items()}
        return Order(
            machine_type=kept.release.machine_type,
            version=kept.release.version,
            selection=Selection(**chosen),
            policy=policy,
            title=str(self._title.value or "").strip(),
        )

    def _window(self) -> Window:
        start, hours = str(self._start.value or ""), str(self._hours.value or "")
        zone = str(self._zone.value or "").strip()
        return rollout_words.window(start, hours, zone)

    async def _changed(self) -> None:
        """Ask what would come of it; only the newest answer is shown."""
        self._asked += 1
        mine = self._asked
        try:
            order = self.order()
            found = await load(lambda: self._rollouts.preview(order))
            plan = rollout_views.preview(order, found)
        except FarfixError as error:
            said = told(str(error))
            self._show(mine, ("refused", said), lambda: _refused(said))
            return
        self._show(
            mine, plan.model_dump_json(), lambda: _plan(plan, lambda: self._ask(order, plan))
        )

    def _show(self, mine: int, content: object, build: Callable[[], None]) -> None:
        if mine == self._asked:
            self._preview.show(repr(content), build)

    def _ask(self, order: Order, plan: PreviewView) -> None:
        order = replace(order, title=str(self._title.value or "").strip())

        async def act(by: str, _why: str) -> None:
            made = await self._rollouts.create(order, by)
            ui.navigate.to(f"/rollouts/{made.number}")

        first = plan.stages[0].machines if plan.stages else 0
        if plan.high_risk:
            question = t("High risk: somebody else must approve it before any machine is begun.")
        else:
            question = t(
                "The first {machines} may take it as soon as it is begun.", machines=machines(first)
            )
        kind = told(words.phrase(order.machine_type))
        title = t("Begin: {release}", release=f"{kind} {order.version}")
        ask(self._host, title, question, t("Yes, begin"), act, why_needed=None)


def _text(label: str, props: str) -> ui.input:
    return ui.input(label).props(f"outlined dense {props}")


def _many(label: str, changed: Callable[[], object]) -> ui.select:
    field = ui.select([], multiple=True, with_input=True, label=label, on_change=changed)
    field.props("outlined dense use-chips clearable")
    return field


def _refused(why: str) -> None:
    with box("attempt"):
        dot("warn", "rule")
        with box():
            Text(t("Not like this"), tag="h2")
            Text(why, "wrap")


def _plan(plan: PreviewView, begin: Callable[[], None]) -> None:
    with box("machine-top"):
        Text(t("It would reach {machines}", machines=machines(plan.machines)), tag="h2")
        if plan.high_risk:
            pill("warn", "priority_high", t("High risk"))
    against = machines(plan.controls)
    said = t("Compared with {machines} that the first stage leaves as they are.", machines=against)
    Text(said, "muted small")
    for stage in plan.stages:
        with box("stage"):
            with box("stage-head"):
                Text(
                    f"{t('Stage {stage}', stage=stage.stage)}: {machines(stage.machines)}", tag="h3"
                )
                soak = t("watched for {span}", span=tongue.span(stage.soak_s))
                Text(f"{t('up to {goal}', goal=stage.goal)} · {soak}", "small muted num")
            with box("meter tone-info"):
                share = 100 * stage.machines / max(plan.machines, 1)
                box("meter-fill").style(f"width: {share:.1f}%")
            _names(stage.devices, stage.machines)
    if plan.excluded_count:
        _excluded(plan)
    if not plan.machines:
        return
    with box("right-row"):
        button(t("Begin the rollout"), "rocket_launch", "btn-main", begin)


def _names(devices: list[str], count: int) -> None:
    with box("names small"):
        for device in devices[:NAMES_SHOWN]:
            machine_link(device, "name")
        if count > NAMES_SHOWN:
            Text(t("and {count} more", count=count - NAMES_SHOWN), "muted", tag="span")


def _excluded(plan: PreviewView) -> None:
    reasons = Counter(plan.excluded.values()).most_common(REASONS_SHOWN)
    title = t("{count} left out", count=plan.excluded_count)
    with ui.expansion(title).classes("full fold"), box("stack"):
        for reason, _ in reasons:
            left_out = [device for device, why in plan.excluded.items() if why == reason]
            Text(f"{len(left_out)}: {told(reason)}", "wrap")
            _names(left_out, len(left_out))
        if plan.excluded_count > len(plan.excluded):
            Text(t("The first {count} are told here.", count=len(plan.excluded)), "muted small")
