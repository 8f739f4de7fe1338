"""One rollout: how far each stage is, how updated machines fare, and the buttons to steer it."""

from msgspec import Struct
from nicegui import ui

from cloud.web import rollout_words, words
from cloud.web.console.audit import Log
from cloud.web.console.frame import frame, live, load, not_found
from cloud.web.console.parts import Pill, Section, Text, box, dot, link
from cloud.web.console.rollout_health import Comparison
from cloud.web.console.rollout_machines import Machines
from cloud.web.console.rollout_parts import PHASE_TONE, Bar, ask, button
from cloud.web.console.rollouts import name
from cloud.web.ports import Desk
from cloud.web.rollout_ports import RolloutAction, Rollouts
from cloud.web.rollout_schemas import RolloutView, StageView
from cloud.web.rollout_views import RolloutViews

EVERY_S = 2.0
LOG_EVERY_S = 5.0
LOG_LINES = 15


class Choice(Struct, frozen=True):
    """How one decision is offered."""

    label: str
    icon: str
    style: str
    question: str
    why_needed: bool


CHOICES: dict[RolloutAction, Choice] = {
    "approve": Choice(
        "Approve", "check", "btn-main",
        "It begins with its first stage. Who asked for a rollout of high risk cannot approve it.",
        why_needed=False,
    ),
    "resume": Choice(
        "Resume", "play_arrow", "btn-main", "Machines are begun again.", why_needed=False
    ),
    "pause": Choice(
        "Pause", "pause", "btn-side", "No machine is begun; those under way go on.",
        why_needed=False,
    ),
    "stop": Choice(
        "Stop", "front_hand", "btn-bad",
        "As the gate would stop it: what is under way is called back, and updated machines go "
        "back to what they ran before, unless the order says that they stay.",
        why_needed=True,
    ),
    "cancel": Choice(
        "Cancel", "close", "btn-side",
        "It ends here. Machines that were updated stay so; those waiting are left alone.",
        why_needed=True,
    ),
}  # fmt: skip


def install(desk: Desk, views: RolloutViews, rollouts: Rollouts) -> None:
    """Register the page."""

    @ui.page("/rollouts/{number}")
    async def rollout_page(number: str) -> None:
        with frame(desk, "", "Rollout"):
            fits = number.isascii() and number.isdecimal() and len(number) < 9
            found = await load(lambda: views.rollout(int(number))) if fits else None
            if found is None:
                not_found(f"There is no rollout {number!r} here.")
                return
            ui.page_title(f"{name(found[0])} · Farfix")
            page = _Page(desk, views, rollouts, found[0])

            async def refresh() -> None:
                seen = await load(lambda: views.rollout(int(number)))
                if seen is not None:
                    page.show(seen[0])
                    page.machines.show(*seen)

            await refresh()
            await page.log.refresh()
            live(refresh, EVERY_S)
            live(page.health.draw, LOG_EVERY_S, at_once=True)
            live(page.log.refresh, LOG_EVERY_S)


class _Page:
    """All parts of the page. A part is built anew only when what it shows has changed."""

    def __init__(
        self, desk: Desk, views: RolloutViews, rollouts: Rollouts, rollout: RolloutView
    ) -> None:
        self._desk, self._rollouts = desk, rollouts
        with box("stack"):
            with box("crumbs"):
                link("Rollouts", "/rollouts", "")
                Text("/", tag="span")
                Text(f"{rollout.number}", tag="span")
            with box("head"):
                with box("stack stack-s"):
                    Text(name(rollout), tag="h1", classes="wrap")
                    about = f"{rollout.machine_type} {rollout.version} · by {rollout.author}"
                    made = f"made {words.utc(rollout.created_ns)}"
                    Text(f"{about} · {made}", "muted small num wrap")
                with box("row"):
                    self._pill = Pill()
        self._host = box("host")
        self._next = Section(box("card next"))
        self._stop = Section(box("stack"))
        with box("card"):
            with box("card-title"):
                Text("Stages", tag="h2")
                self._far = Text("", "muted small num")
            self._stages = [_Stage(stage) for stage in rollout.funnel]
        self.health = Comparison(desk, views, rollout)
        self.machines = Machines(rollout)
        with box("card"):
            Text("Who did what", tag="h2").style("margin-bottom: 8px")
            self.log = Log(views, lambda: (rollout.number, ""), LOG_LINES)
        _asked(rollout)

    def show(self, rollout: RolloutView) -> None:
        """Set what is known now."""
        self._pill.set(*PHASE_TONE[rollout.phase], rollout.phase_text)
        content = (rollout.phase, rollout.next_text, tuple(rollout.actions), rollout.proposal)
        self._next.show(content, lambda: self._build_next(rollout))
        self._stop.show(rollout.stop, lambda: _stop(rollout))
        under_way = rollout.open and rollout.phase in ("running", "paused")
        for stage, bar in zip(rollout.funnel, self._stages, strict=True):
            bar.show(stage, present=under_way and stage.stage == rollout.stage)
        far = f"{rollout.running} of {rollout_words.machines(rollout.machines)} run it"
        self._far.text = far

    def _build_next(self, rollout: RolloutView) -> None:
        with box("next-text"):
            Text("What happens next" if rollout.open else "How it ended", tag="h2")
            Text(rollout.next_text, "wrap")
            if rollout.proposal:
                Text(rollout.proposal, "muted wrap")
            if rollout.case_id:
                link("The case behind it", f"/cases/{rollout.case_id}")
        offered = [(a, choice) for a, choice in CHOICES.items() if a in rollout.actions]
        if offered:
            with box("actions"):
                for action, choice in offered:
                    self._button(rollout, action, choice)

    def _button(self, rollout: RolloutView, action: RolloutAction, choice: Choice) -> None:
        async def act(by: str, why: str) -> None:
            await self._rollouts.decide(rollout.number, action, by, why)

        title = f"{choice.label}: rollout {rollout.number}, {name(rollout)}"

        def opened() -> None:
            ask(self._host, title, choice.question, act, why_needed=choice.why_needed)

        button(choice.label, choice.icon, choice.style, opened)


class _Stage:
    """One stage: its goal, its bar, its words."""

    def __init__(self, stage: StageView) -> None:
        with box("stage") as self._box:
            with box("stage-head"):
                with box("row"):
                    Text(f"Stage {stage.stage}", tag="h3")
                    with box("now"):
                        Text("now", tag="span")
                self._about = Text("", "small muted num")
            self._bar = Bar()

    def show(self, stage: StageView, *, present: bool) -> None:
        """Set how it stands."""
        self._box.classes(add="present") if present else self._box.classes(remove="present")
        began = "" if stage.began_ns is None else f" · began {words.clock(stage.began_ns)} UTC"
        size = rollout_words.machines(stage.machines)
        soak = f"watched for {words.span(stage.soak_s)}"
        goal = "" if stage.goal == size else f", {stage.goal} so far"
        self._about.text = f"{size}{goal} · {soak}{began}"
        self._bar.show(stage.counts)


def _stop(rollout: RolloutView) -> None:
    stop = rollout.stop
    if stop is None:
        return
    with box("card next stopped").props('role="alert"'), box("attempt"):
        dot("bad", "front_hand")
        with box():
            Text(stop.text, tag="h2")
            Text(stop.detail, "wrap")
            reached = f"{rollout_words.machines(stop.reached)} reached, {stop.harmed} harmed"
            Text(f"{words.utc(stop.at_ns)} · {reached}", "small muted num")


def _asked(rollout: RolloutView) -> None:
    """Show what was asked for."""
    fold = box("card fold")
    with fold, ui.expansion("What was asked for").classes("full"), box("facts facts-wide"):
        for label, text in _facts(rollout).items():
            with box("stack").style("gap: 0"):
                Text(label, "fact-label")
                Text(text, "fact-value wrap num")


def _facts(rollout: RolloutView) -> dict[str, str]:
    order = rollout.order
    policy, selection = order["policy"], order["selection"]
    chosen = [
        f"{key}: {', '.join(str(value) for value in values)}"
        for key, values in selection.items()
        if values
    ]
    window, limits, gate, ramp = (policy[k] for k in ("window", "limits", "gate", "ramp"))
    begun = "at any time"
    if window is not None:
        begun = f"from {window['start']} for {window['hours']:g} h, {window['timezone']}"
    return {
        "Machines": "; ".join(chosen) or "all of the type",
        "Begun": begun,
        "Rate": f"{ramp['base_per_minute']:g} to {ramp['max_per_minute']:g} machines a minute",
        "Stops at failures": f"{limits['failed_percent']:g} %, at least {limits['failed_min']}",
        "Stops at time-outs": f"{limits['timed_out_percent']:g} %, at least "
        f"{limits['timed_out_min']}",
        "Wrong stop by comparison": f"at most {gate['false_stop']:.1%} of harmless releases",
        "A stop": "brings updated machines back" if policy["revert"] else "leaves them updated",
        "Tries of a machine": f"{limits['attempts_max']}",
    }
