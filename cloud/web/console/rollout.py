"""One rollout: how far each stage is, how updated machines fare, and the buttons to steer it."""

from msgspec import Struct
from nicegui import ui

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import tongue, viewer
from cloud.web.console.audit import Log
from cloud.web.console.frame import frame, live, load, not_found, page_at
from cloud.web.console.parts import Pill, Section, Text, box, dot, link
from cloud.web.console.rollout_health import Comparison
from cloud.web.console.rollout_machines import Machines
from cloud.web.console.rollout_parts import PHASE_TONE, Bar, ask, button, machines
from cloud.web.console.rollouts import harm, name, runs_it
from cloud.web.console.tongue import later, t, told
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
    yes: str
    question: str
    why_needed: bool


CHOICES: dict[RolloutAction, Choice] = {
    "approve": Choice(
        later("Approve"), "check", "btn-main", later("Yes, approve"),
        later("It begins with its first stage. Who asked for a rollout of high risk cannot "
              "approve it."),
        why_needed=False,
    ),
    "resume": Choice(
        later("Resume"), "play_arrow", "btn-main", later("Yes, resume"),
        later("Machines are begun again."), why_needed=False,
    ),
    "pause": Choice(
        later("Pause"), "pause", "btn-side", later("Yes, pause"),
        later("No machine is begun; those under way go on."), why_needed=False,
    ),
    "stop": Choice(
        later("Stop"), "front_hand", "btn-bad", later("Yes, stop"),
        later("As the gate would stop it: what is under way is called back, and updated machines "
              "go back to what they ran before, unless the order says that they stay."),
        why_needed=True,
    ),
    "cancel": Choice(
        later("Cancel"), "close", "btn-side", later("Yes, cancel"),
        later("It ends here. Machines that were updated stay so; those waiting are left alone."),
        why_needed=True,
    ),
}  # fmt: skip


def install(desk: Desk, views: RolloutViews, rollouts: Rollouts) -> None:
    """Register the page."""

    @page_at("/rollouts/{number}")
    async def rollout_page(number: str) -> None:
        with frame(desk, "/rollouts", t("Rollout")):
            fits = number.isascii() and number.isdecimal() and len(number) < 9
            found = await load(lambda: views.rollout(int(number))) if fits else None
            if found is None:
                not_found(t("There is no rollout {number} here.", number=repr(number)))
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
                link(t("Rollouts"), "/rollouts", "")
                Text("/", tag="span")
                Text(f"{rollout.number}", tag="span")
            with box("head"):
                with box("stack stack-s"):
                    Text(name(rollout), tag="h1", classes="wrap")
                    made = tongue.utc(rollout.created_ns)
                    by = t("by {name}, made {time}", name=rollout.author, time=made)
                    about = f"{told(words.phrase(rollout.machine_type))} {rollout.version}"
                    Text(f"{about} · {by}", "muted small num wrap")
                with box("abreast"):
                    self._pill = Pill()
        self._host = box("host")
        self._next = Section(box("card next"))
        self._stop = Section(box("stack"))
        with box("card"):
            with box("card-title"):
                Text(t("Stages"), tag="h2")
                self._far = Text("", "muted small num")
            self._stages = [_Stage(stage) for stage in rollout.funnel]
        self.health = Comparison(desk, views, rollout)
        self.machines = Machines(rollout)
        with box("card"):
            Text(t("Who did what"), tag="h2").style("margin-bottom: 8px")
            self.log = Log(views, lambda: (rollout.number, ""), LOG_LINES)
        _asked(rollout)

    def show(self, rollout: RolloutView) -> None:
        """Set what is known now."""
        self._pill.set(*PHASE_TONE[rollout.phase], told(rollout.phase_text))
        content = (rollout.phase, rollout.next_text, tuple(rollout.actions), rollout.proposal)
        self._next.show(content, lambda: self._build_next(rollout))
        self._stop.show(rollout.stop, lambda: _stop(rollout))
        under_way = rollout.open and rollout.phase in ("running", "paused")
        for stage, bar in zip(rollout.funnel, self._stages, strict=True):
            bar.show(stage, present=under_way and stage.stage == rollout.stage)
        self._far.text = runs_it(rollout)

    def _build_next(self, rollout: RolloutView) -> None:
        with box("next-text"):
            Text(t("What happens next") if rollout.open else t("How it ended"), tag="h2")
            Text(told(rollout.next_text), "wrap")
            if rollout.proposal:
                Text(rollout.proposal, "muted wrap")
            if rollout.case_id:
                link(t("The case behind it"), f"/cases/{rollout.case_id}")
        offered = [(a, choice) for a, choice in CHOICES.items() if a in rollout.actions]
        if offered and viewer.allowed(Role.ENGINEER):
            with box("actions"):
                for action, choice in offered:
                    self._button(rollout, action, choice)

    def _button(self, rollout: RolloutView, action: RolloutAction, choice: Choice) -> None:
        async def act(by: str, why: str) -> None:
            await self._rollouts.decide(rollout.number, action, by, why)

        number = t("Rollout {number}", number=rollout.number)
        title = f"{told(choice.label)}: {number}, {name(rollout)}"
        asked, yes = told(choice.question), told(choice.yes)

        def opened() -> None:
            ask(self._host, title, asked, yes, act, why_needed=choice.why_needed)

        button(told(choice.label), choice.icon, choice.style, opened)


class _Stage:
    """One stage: its goal, its bar, its words."""

    def __init__(self, stage: StageView) -> None:
        with box("stage") as self._box:
            with box("stage-head"):
                with box("abreast"):
                    Text(t("Stage {stage}", stage=stage.stage), tag="h3")
                    with box("now"):
                        Text(t("now"), tag="span")
                self._about = Text("", "small muted num")
            self._bar = Bar()

    def show(self, stage: StageView, *, present: bool) -> None:
        """Set how it stands."""
        self._box.classes(add="present") if present else self._box.classes(remove="present")
        about = [machines(stage.machines)]
        if stage.goal.endswith("%"):
            about.append(t("{percent} so far", percent=stage.goal))
        about.append(t("watched for {span}", span=tongue.span(stage.soak_s)))
        if stage.began_ns is not None:
            about.append(t("began {time} UTC", time=words.clock(stage.began_ns)))
        self._about.text = " · ".join(about)
        self._bar.show(stage.counts)


def _stop(rollout: RolloutView) -> None:
    stop = rollout.stop
    if stop is None:
        return
    with box("card next stopped").props('role="alert"'), box("attempt"):
        dot("bad", "front_hand")
        with box():
            Text(told(stop.text), tag="h2")
            Text(told(stop.detail), "wrap")
            Text(f"{tongue.utc(stop.at_ns)} · {harm(stop)}", "small muted num")


def _asked(rollout: RolloutView) -> None:
    """Show what was asked for."""
    fold = box("card fold")
    with fold, ui.expansion(t("What was asked for")).classes("full"), box("facts facts-wide"):
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
    begun = t("at any time")
    if window is not None:
        begun = t(
            "from {start} for {hours} h, {zone}", start=window["start"],
            hours=f"{window['hours']:g}", zone=window["timezone"],
        )  # fmt: skip
    slow, fast = f"{ramp['base_per_minute']:g}", f"{ramp['max_per_minute']:g}"
    return {
        t("Machines"): "; ".join(chosen) or t("all of the type"),
        t("Begun"): begun,
        t("Rate"): t("{slow} to {fast} machines a minute", slow=slow, fast=fast),
        t("Stops at failures"): _limit(limits["failed_percent"], limits["failed_min"]),
        t("Stops at time-outs"): _limit(limits["timed_out_percent"], limits["timed_out_min"]),
        t("Wrong stop by comparison"): t(
            "at most {share} of harmless releases", share=f"{gate['false_stop']:.1%}"
        ),
        t("A stop"): t("brings updated machines back")
        if policy["revert"]
        else t("leaves them updated"),
        t("Tries of a machine"): f"{limits['attempts_max']}",
    }


def _limit(percent: float, least: int) -> str:
    return t("{percent} %, at least {count}", percent=f"{percent:g}", count=least)
