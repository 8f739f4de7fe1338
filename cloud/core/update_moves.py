"""Moves that several rules of an update share: change the phase, end, try again, take it back."""

from msgspec import Struct, structs

from cloud.core.rollout_states import (
    Disagreement,
    Effect,
    Facts,
    Order,
    Phase,
    Quarantine,
    Record,
    Report,
    Revert,
    Update,
    UpdatePhase,
)
from cloud.core.stages import passed
from cloud.core.wording import span

NS = 10**9
GATEWAY = "gateway"
DETAIL_MAX = 500
Moved = tuple[Update, tuple[Effect, ...]]
P = UpdatePhase


class Scene(Struct, frozen=True, kw_only=True):
    """What an update must know of its rollout."""

    order: Order
    phase: Phase
    of_case: bool
    """A case judges it: nothing is watched here."""
    action: int
    """The next number that is free."""
    now_ns: int
    listening_ns: int = 0
    """Since when machines were heard without a break."""


def late(scene: Scene, update: Update, extra_s: float = 0.0) -> bool:
    """Tell whether patience with the present phase has ended, some seconds later perhaps."""
    heard_ns = 0
    if scene.listening_ns:
        heard_ns = scene.listening_ns + in_ns(scene.order.policy.limits.readback_s)
    return scene.now_ns >= max(update.deadline_ns, heard_ns) + in_ns(extra_s)


def enter(
    scene: Scene, update: Update, phase: UpdatePhase, patience_s: float | None, **changes: object
) -> Update:
    """Go to a phase, with so much patience for it; None: without end."""
    deadline_ns = 0 if patience_s is None else scene.now_ns + in_ns(patience_s)
    return structs.replace(
        update,
        phase=phase,
        entered_ns=scene.now_ns,
        deadline_ns=deadline_ns,
        since_ns=0,
        **changes,
    )


def end(scene: Scene, update: Update, phase: UpdatePhase, said: str, **changes: object) -> Moved:
    """End; what ended without the release is looked at for a little longer."""
    watch_s = scene.order.policy.limits.readback_s
    moved = enter(scene, update, phase, watch_s, detail=said, **changes)
    return moved, (record(moved, phase.value, said),)


def drop(scene: Scene, update: Update, facts: Facts, reason: str) -> Moved:
    """End a machine that waits: left out, or failed if it was tried before."""
    if update.attempts:
        said = f"{update.detail} Not tried again: {reason}."
        return end(scene, update, P.FAILED, said, **reading(facts))
    return end(scene, update, P.SKIPPED, f"Left out: {reason}.", **reading(facts))


def again(scene: Scene, update: Update, said: str) -> Moved:
    """Try again later, or end if that was often enough or the rollout begins nobody any more."""
    limits = scene.order.policy.limits
    going = scene.phase in (Phase.RUNNING, Phase.PAUSED)
    failure = update.report is Report.FAILURE
    if going and update.attempts < limits.attempts_max:
        not_before_ns = scene.now_ns + in_ns(limits.retry_s)
        moved = enter(
            scene, update, P.WAITING, None, not_before_ns=not_before_ns, detail=said,
            fetched=False, begun=False,
        )  # fmt: skip
        text = f"{said} Tries again in {span(limits.retry_s)}."
        return moved, (record(moved, "again", text),)
    moved, effects = end(scene, update, P.FAILED, said, timed_out=not failure)
    if failure and update.attempts >= limits.attempts_max and not scene.of_case:
        why = f"{scene.order.version} failed {update.attempts} times. {said}"
        return moved, (*effects, Quarantine(update.device, why))
    return moved, effects


def called_off(scene: Scene, update: Update, said: str) -> Moved:
    """End without the release: it was called back, by people or because it took too long."""
    return end(scene, update, P.FAILED if update.timed_out else P.CANCELED, said)


def unclear(
    scene: Scene, update: Update, facts: Facts, said: str, *, timed_out: bool = False
) -> Moved:
    """End because word, version and health do not agree; a case is opened."""
    moved = enter(
        scene, update, P.UNCLEAR, None, detail=said, timed_out=timed_out, **reading(facts)
    )
    return moved, (record(moved, "unclear", said), Disagreement(update.device, said))


def unfit(scene: Scene, facts: Facts) -> str:
    """Say why a machine that waits does not fit any more; empty: it does."""
    if facts.quarantined:
        return f"in quarantine: {facts.quarantined}"
    if reason := passed(facts.version, scene.order.version):
        return reason
    wanted = scene.order.selection.versions
    changed = bool(wanted) and bool(facts.version) and facts.version not in wanted
    return f"runs {facts.version}, which was not selected" if changed else ""


def read_after(facts: Facts, after_ns: int) -> str:
    """Return the version if it was read after a moment; an old reading proves nothing."""
    return facts.version if facts.version_ns > after_ns else ""


def reading(facts: Facts) -> dict[str, object]:
    """Return the update's fields about the version, where one was read."""
    if not facts.version:
        return {}
    return {"version": facts.version, "version_ns": facts.version_ns}


def record(update: Update, what: str, text: str) -> Record:
    """Return a line for the audit log."""
    return Record(GATEWAY, what, text, update.device)


def cut(detail: str) -> str:
    """Return what an installer said, with an upper bound."""
    return detail[:DETAIL_MAX]


def in_ns(seconds: float) -> int:
    """Return seconds as whole nanoseconds."""
    return int(seconds * NS)


def start_back(scene: Scene, update: Update, facts: Facts, why: str) -> Moved:
    """Begin to take a machine back to what it ran before."""
    moved = enter(
        scene, update, P.REVERTING, scene.order.policy.limits.offer_s,
        action=scene.action, report=Report.NOTHING, reported_ns=0, fetched=False, begun=False,
        timed_out=False, detail=why, **reading(facts),
    )  # fmt: skip
    revert = Revert(update.device, scene.action, update.from_version, moved.deadline_ns)
    said = f"{why} Takes it back to {update.from_version}."
    return moved, (revert, record(moved, "reverting", said))
