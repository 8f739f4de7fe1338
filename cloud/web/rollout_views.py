"""What there is to see of rollouts; the API and the console both show this.

Everything here reads and may block for a moment: call it from a thread.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec.structs import asdict

from cloud.core import rollout_tally as tally
from cloud.core.rollout_states import ENDED, ENDS, Order, Phase, Rollout, Update, UpdatePhase
from cloud.web import rollout_words, words
from cloud.web.rollout_ports import Health, Preview, RolloutAction, Rollouts
from cloud.web.rollout_schemas import (
    AuditEntry,
    DeviceView,
    EvidenceCell,
    HealthPointView,
    HealthSummary,
    HealthView,
    PreviewView,
    RolloutBrief,
    RolloutView,
    StagePlanView,
    StageView,
    StopView,
    UpdatePage,
    UpdateView,
)

SHOWN_DEVICES = 200
"""So many names a preview lists for each stage, and of the machines left out."""
DEVICE_ROLLOUTS, DEVICE_AUDIT = 10, 200
"""A machine's updates are those of so many rollouts, found in so many lines of the audit log."""
ENDED_KEPT = 2000
RUNS_IT = (UpdatePhase.WATCHING, UpdatePhase.UPDATED)
ACTIONS: dict[Phase, tuple[RolloutAction, ...]] = {
    Phase.PROPOSED: ("approve", "cancel"),
    Phase.AWAITING_APPROVAL: ("approve", "cancel"),
    Phase.RUNNING: ("pause", "stop", "cancel"),
    Phase.PAUSED: ("resume", "stop", "cancel"),
    Phase.CANCELLING: ("stop",),
}
"""What a person may decide, by phase; in the others nothing."""
URGENCY = {
    phase: rank
    for rank, phase in enumerate(
        (
            UpdatePhase.UNCLEAR,
            UpdatePhase.FAILED,
            UpdatePhase.CANCELLING,
            UpdatePhase.REVERTING,
            UpdatePhase.INSTALLING,
            UpdatePhase.CHECKING,
            UpdatePhase.OFFERED,
            UpdatePhase.WATCHING,
            UpdatePhase.REVERTED,
            UpdatePhase.UPDATED,
            UpdatePhase.CANCELED,
            UpdatePhase.WAITING,
            UpdatePhase.SKIPPED,
        )
    )
}
"""What people should look at first."""


class RolloutViews:
    """Reads for people and programs."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._ended: dict[int, RolloutBrief] = {}

    def rollouts(self, limit: int = 50, before: int | None = None) -> list[RolloutBrief]:
        """Return rollouts, newest first."""
        fit = [r for r in self._rollouts.all() if before is None or r.number < before]
        return [self._listed(rollout) for rollout in fit[:limit]]

    def _listed(self, rollout: Rollout) -> RolloutBrief:
        """Return a rollout's line; one that has ended never changes, and is read once."""
        known = self._ended.get(rollout.number)
        if known is not None:
            return known
        found = self._rollouts.one(rollout.number)
        line = brief(rollout, found[1] if found else [])
        if rollout.phase in ENDED:
            while len(self._ended) >= ENDED_KEPT:
                self._ended.pop(next(iter(self._ended)), None)
            self._ended[rollout.number] = line
        return line

    def rollout(self, number: int) -> tuple[RolloutView, list[Update]] | None:
        """Return a rollout with its stages, and the updates behind them."""
        found = self._rollouts.one(number)
        if found is None:
            return None
        rollout, updates = found
        health = self._rollouts.health(number)
        view = RolloutView(
            **dict(brief(rollout, updates)),
            order=msgspec.to_builtins(rollout.order),
            case_id=rollout.case_id,
            proposal=rollout.proposal,
            next_text=next_text(rollout, updates),
            actions=list(ACTIONS.get(rollout.phase, ())),
            funnel=funnel(rollout, updates),
            health=None if health is None else summary(rollout, updates, health),
        )
        return view, updates

    def health(self, number: int) -> HealthView | None:
        """Return the comparison of a rollout; None: no such rollout, or nothing to compare."""
        found, health = self._rollouts.one(number), self._rollouts.health(number)
        if found is None or health is None:
            return None
        return HealthView(
            **dict(summary(*found, health)),
            log_threshold=health.log_threshold,
            points=[HealthPointView(**asdict(point)) for point in health.points],
            cells=cells(health),
        )

    def updates(
        self, number: int, phase: UpdatePhase | None, limit: int, after: str
    ) -> UpdatePage | None:
        """Return machines of a rollout by name, those after a name."""
        found = self._rollouts.one(number)
        if found is None:
            return None
        rollout, updates = found
        fit = sorted((u for u in updates if phase in (None, u.phase)), key=lambda u: u.device)
        rest = [u for u in fit if u.device > after]
        return UpdatePage(
            total=len(fit),
            updates=[update_view(u, looks_of(rollout)) for u in rest[:limit]],
            after=rest[limit - 1].device if len(rest) > limit else None,
        )

    def device(self, device: str) -> DeviceView | None:
        """Return what is kept about a machine, with its updates."""
        record = self._rollouts.device(device)
        if record is None:
            return None
        rows = self._rollouts.audit(limit=DEVICE_AUDIT, device=device)
        numbers = sorted({row.rollout for row in rows if row.rollout}, reverse=True)
        updates = []
        for number in numbers[:DEVICE_ROLLOUTS]:
            found = self._rollouts.one(number)
            if found is not None:
                rollout, parts = found
                updates += [update_view(u, looks_of(rollout)) for u in parts if u.device == device]
        return DeviceView(**asdict(record), updates=updates)

    def audit(
        self, limit: int, before: int | None = None, rollout: int = 0, device: str = ""
    ) -> list[AuditEntry]:
        """Return the audit log, newest first."""
        rows = self._rollouts.audit(limit=limit, before_id=before, rollout=rollout, device=device)
        return [AuditEntry(**asdict(row)) for row in rows]


def brief(rollout: Rollout, updates: Iterable[Update]) -> RolloutBrief:
    """Return one line about a rollout."""
    counts = Counter(update.phase for update in updates)
    order, stop = rollout.order, rollout.stop
    return RolloutBrief(
        number=rollout.number,
        title=order.title,
        machine_type=order.machine_type,
        version=order.version,
        phase=rollout.phase,
        phase_text=rollout_words.PHASE[rollout.phase],
        open=rollout.phase not in ENDED,
        author=rollout.author,
        approver=rollout.approver,
        high_risk=rollout.high_risk,
        created_ns=rollout.created_ns,
        entered_ns=rollout.entered_ns,
        stage=rollout.stage + 1,
        stages=len(order.policy.stages),
        machines=counts.total(),
        running=sum(counts[phase] for phase in RUNS_IT),
        ended=sum(counts[phase] for phase in ENDS),
        counts=_counts(counts),
        stop=None if stop is None else StopView(text=rollout_words.STOP[stop.kind], **asdict(stop)),
    )


def _counts(counts: Counter[UpdatePhase]) -> dict[str, int]:
    return {phase.value: counts[phase] for phase in UpdatePhase if counts[phase]}


def funnel(rollout: Rollout, updates: list[Update]) -> list[StageView]:
    """Return how the machines of each stage stand."""
    stages = rollout.order.policy.stages
    counts = [Counter(c) for c in tally.funnel(rollout, {u.device: u for u in updates})]
    began: list[list[int]] = [[] for _ in stages]
    for update in updates:
        if update.watched_ns:
            began[update.stage].append(update.watched_ns)
    return [
        StageView(
            stage=i + 1,
            goal=rollout_words.stage(stage),
            soak_s=stage.soak_s,
            machines=counts[i].total(),
            counts=_counts(counts[i]),
            began_ns=min(began[i], default=None),
        )
        for i, stage in enumerate(stages)
    ]


def looks_of(rollout: Rollout) -> int:
    """Return how often each machine of a rollout is compared with the others."""
    return len(rollout.order.policy.gate.looks)


def update_view(update: Update, looks: int) -> UpdateView:
    """Return one machine's part; so many looks at its health are planned."""
    return UpdateView(
        rollout=update.number,
        device=update.device,
        site=update.site,
        stage=update.stage + 1,
        phase=update.phase,
        phase_text=rollout_words.UPDATE[update.phase],
        action=update.action,
        entered_ns=update.entered_ns,
        from_version=update.from_version,
        hardware=update.hardware,
        attempts=update.attempts,
        report=update.report,
        report_text=rollout_words.REPORT[update.report],
        reported_ns=update.reported_ns,
        detail=update.detail,
        fetched=update.fetched,
        version=update.version,
        version_ns=update.version_ns,
        watched_ns=update.watched_ns,
        looks=len(update.looks),
        harm=update.harm,
        health_text=_health_text(update, looks),
        timed_out=update.timed_out,
    )


def _health_text(update: Update, looks: int) -> str:
    if update.harm:
        return update.harm
    if not update.watched_ns:
        return ""
    return f"{len(update.looks)} of {looks} comparisons made"


def summary(rollout: Rollout, updates: list[Update], health: Health) -> HealthSummary:
    """Return the comparison in short."""
    found = cells(health)
    worst = max(found, key=lambda cell: cell.share, default=None)
    share = worst.share if worst is not None else 0.0
    gate, stage = rollout.order.policy.gate, rollout.order.policy.stages[rollout.stage]
    if health.controls < gate.controls_min and not any(u.looks for u in updates):
        text = (
            f"There are {health.controls} machines to compare with; with fewer than "
            f"{gate.controls_min} only the limits judge."
        )
    elif not any(u.looks for u in updates):
        first = words.span(gate.settle_s + min(gate.looks, default=1.0) * stage.soak_s)
        text = f"Nothing is compared yet: the first look comes after about {first}."
    elif worst is None or share <= 0:
        text = "No evidence of harm so far."
    else:
        text = f"Evidence of harm: {words.percent(share)} of what stops the rollout."
    measure = worst.measure if worst is not None and share > 0 else ""
    return HealthSummary(share=share, text=text, worst=measure, controls=health.controls)


def cells(health: Health) -> list[EvidenceCell]:
    """Return what each measure has gathered at each look.

    The share is that of logarithms: pieces of evidence add up there.
    """
    return [
        EvidenceCell(
            measure=measure,
            look=look,
            log_evidence=gathered,
            share=min(max(gathered / health.log_threshold, 0.0), 1.0),
        )
        for look, row in zip(health.looks, health.log_evidence, strict=False)
        for measure, gathered in zip(health.measures, row, strict=False)
    ]


def preview(order: Order, found: Preview) -> PreviewView:
    """Return what a rollout would do, with a bounded number of names."""
    stages = zip(order.policy.stages, found.stages, strict=False)
    return PreviewView(
        machines=sum(len(stage.devices) for stage in found.stages),
        stages=[
            StagePlanView(
                stage=i,
                goal=rollout_words.stage(asked),
                soak_s=stage.soak_s,
                machines=len(stage.devices),
                devices=stage.devices[:SHOWN_DEVICES],
            )
            for i, (asked, stage) in enumerate(stages, 1)
        ],
        excluded_count=len(found.excluded),
        excluded=dict(list(found.excluded.items())[:SHOWN_DEVICES]),
        high_risk=found.high_risk,
        controls=found.controls,
    )


def next_text(rollout: Rollout, updates: list[Update]) -> str:
    """Say what happens next, or how it ended."""
    counts = Counter(update.phase for update in updates)
    running = sum(counts[phase] for phase in RUNS_IT)
    runs, missed = rollout_words.machines(running), rollout_words.machines(len(updates) - running)
    reverting = rollout_words.machines(counts[UpdatePhase.REVERTING])
    reverted = rollout_words.machines(counts[UpdatePhase.REVERTED])
    version = rollout.order.version
    return {
        Phase.PROPOSED: "A person takes it up, and is its author then, or cancels it.",
        Phase.AWAITING_APPROVAL: (
            f"High risk: somebody other than {rollout.author} must agree before it begins."
        ),
        Phase.RUNNING: _running_text(rollout),
        Phase.PAUSED: "No machine is begun until a person resumes it; those under way go on.",
        Phase.STOPPING: f"What is under way is called back; going back: {reverting}.",
        Phase.CANCELLING: (
            "What is offered is called back; what runs the release already is watched to the end."
        ),
        Phase.STOPPED: f"It was stopped. Went back: {reverted}; left with {version}: {runs}.",
        Phase.CANCELED: f"A person ended it. Left with {version}: {runs}.",
        Phase.FINISHED: f"It is done. Now with {version}: {runs}; not brought so far: {missed}.",
    }[rollout.phase]


def _running_text(rollout: Rollout) -> str:
    policy = rollout.order.policy
    stage, window = policy.stages[rollout.stage], policy.window
    goal = rollout_words.stage(stage)
    text = (
        f"Stage {rollout.stage + 1} of {len(policy.stages)}, up to {goal}: it ends when each "
        f"of its machines has been watched for {words.span(stage.soak_s)}."
    )
    if window is not None:
        text += (
            f" Machines are begun only from {window.start} for {window.hours:g} h, "
            f"time of {window.timezone}."
        )
    return text
