"""What an update does until its installer has given a verdict; `cloud.core.updating` says when."""

from msgspec import structs

from cloud.core.rollout_states import (
    Facts,
    Fetched,
    Install,
    Report,
    Reported,
    Update,
    UpdatePhase,
)
from cloud.core.update_moves import (
    NS,
    Moved,
    Scene,
    again,
    called_off,
    cut,
    drop,
    end,
    enter,
    in_ns,
    late,
    read_after,
    reading,
    record,
    unclear,
    unfit,
)
from cloud.core.wording import span

P = UpdatePhase


# Before the release.


def wait(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Leave a machine out that does not fit any more, or that cannot be begun for too long."""
    release = scene.order.version
    if update.attempts and read_after(facts, update.entered_ns) == release:
        said = f"It said that {release} was not installed ({update.detail}), but it runs it."
        return unclear(scene, update, facts, said)
    if reason := unfit(scene, facts):
        return drop(scene, update, facts, reason)
    why = hindered(facts)
    if not why:
        return (structs.replace(update, since_ns=0) if update.since_ns else update), ()
    if not update.since_ns:
        return structs.replace(update, since_ns=scene.now_ns, detail=why), ()
    patience_s = scene.order.policy.limits.offer_s
    if scene.now_ns >= max(update.since_ns, scene.listening_ns) + in_ns(patience_s):
        return drop(scene, update, facts, f"for {span(patience_s)} it could not be begun: {why}")
    return (update if why == update.detail else structs.replace(update, detail=why)), ()


def begin(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Offer the release, unless the machine is not ready after all."""
    if unfit(scene, facts) or hindered(facts):
        return wait(scene, update, facts)
    patience_s = scene.order.policy.limits.offer_s
    moved = enter(
        scene, update, P.OFFERED, patience_s,
        action=scene.action, attempts=update.attempts + 1, from_version=facts.version,
        report=Report.NOTHING, reported_ns=0, fetched=False, begun=False, timed_out=False,
        detail="", **reading(facts),
    )  # fmt: skip
    install = Install(update.device, scene.action, moved.deadline_ns)
    said = f"Offers {scene.order.version} to the machine, which runs {facts.version}."
    return moved, (install, record(moved, "offered", said))


def leave(scene: Scene, update: Update, facts: Facts) -> Moved:
    """End what has not begun: the rollout is over."""
    return drop(scene, update, facts, "the rollout ended before its turn")


def hindered(facts: Facts) -> str:
    """Say why a machine cannot be begun now; empty: it can."""
    if facts.busy:
        return facts.busy
    if facts.elsewhere:
        return "another rollout has an open action with it"
    if facts.silent:
        return "nothing comes from it"
    return "" if facts.version else "its version is not known"


# Offered and under way.


def fetch(scene: Scene, update: Update, _event: Fetched) -> Moved:
    """Note that the image was asked for."""
    if update.fetched or _has_ended(update):
        return update, ()
    return _take(scene, update, "It fetches the image.", fetched=True)


def take(scene: Scene, update: Update, event: Reported) -> Moved:
    """Note that the machine has begun; a word about progress is only remembered."""
    detail = cut(event.detail)
    if _has_ended(update):
        return update, ()
    if not update.begun:
        changes = {"report": Report.TAKEN, "detail": detail}
        return _take(scene, update, f"It has begun. {detail}".strip(), **changes)
    if detail in ("", update.detail):
        return update, ()
    return structs.replace(update, detail=detail), ()


def _has_ended(update: Update) -> bool:
    """Tell whether the installer has given its verdict about going back."""
    quiet = update.report in (Report.NOTHING, Report.TAKEN)
    return update.phase is P.REVERTING and not quiet


def _take(scene: Scene, update: Update, said: str, **changes: object) -> Moved:
    if update.begun:
        return structs.replace(update, **changes), ()
    patience_s = scene.order.policy.limits.install_s
    phase = P.INSTALLING if update.phase is P.OFFERED else update.phase
    deadline_ns = scene.now_ns + in_ns(patience_s)
    moved = structs.replace(update, phase=phase, begun=True, deadline_ns=deadline_ns, **changes)
    if phase is not update.phase:
        moved = structs.replace(moved, entered_ns=scene.now_ns)
    return moved, (record(moved, "begun", said),)


def conclude(scene: Scene, update: Update, event: Reported) -> Moved:
    """Take the installer's verdict, and read the version next."""
    detail = cut(event.detail)
    moved = enter(
        scene, update, P.CHECKING, scene.order.policy.limits.readback_s,
        report=event.report, reported_ns=min(event.at_ns, scene.now_ns), detail=detail,
        timed_out=update.timed_out and event.report is Report.CANCELED,
    )  # fmt: skip
    said = f"It says '{event.report.value}'; its version is read next. {detail}".strip()
    return moved, (record(moved, "reported", said),)


def call_off(scene: Scene, update: Update, event: Reported) -> Moved:
    """Take that it did not begin for an answer to the call: it was in time."""
    did_not = structs.replace(event, report=Report.CANCELED)
    return conclude(scene, update, did_not)


def refuse(scene: Scene, update: Update, event: Reported) -> Moved:
    """End: the machine will never begin."""
    refused = structs.replace(update, report=event.report, reported_ns=scene.now_ns)
    return end(scene, refused, P.FAILED, f"It refused: {cut(event.detail)}")


def miss(scene: Scene, update: Update, event: Reported) -> Moved:
    """Try again later: the machine was not reached."""
    missed = structs.replace(update, report=event.report, reported_ns=scene.now_ns)
    return again(scene, missed, f"It was not reached. {cut(event.detail)}".strip())


def expire(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Call back what took too long."""
    if not late(scene, update):
        return update, ()
    limits = scene.order.policy.limits
    if update.report is Report.CANCEL_REFUSED:
        said = f"It would not be called back, and has not ended within {span(limits.install_s)}."
        return unclear(scene, update, facts, said, timed_out=True)
    said = f"It has not ended within {span(limits.install_s)}: calls it back."
    if not update.begun:
        said = f"It has not begun within {span(limits.offer_s)}: calls it back."
    moved = enter(scene, update, P.CANCELLING, limits.install_s, timed_out=True, detail=said)
    return moved, (record(moved, "called back", said),)


def call_back(scene: Scene, update: Update, _facts: Facts) -> Moved:
    """Ask for the action back; who refused that once is not asked again."""
    if update.report is Report.CANCEL_REFUSED:
        return update, ()
    limits, now_ns = scene.order.policy.limits, scene.now_ns
    # Where it may not hear us, it may still begin until the offer expires.
    last_ns = now_ns if update.begun else max(now_ns, update.deadline_ns)
    patience_s = (last_ns - now_ns) / NS + limits.install_s
    moved = enter(scene, update, P.CANCELLING, patience_s)
    return moved, (record(moved, "called back", "The rollout ends: calls the action back."),)


def resist(scene: Scene, update: Update, event: Reported) -> Moved:
    """Let it go on: it was too late to call it back."""
    detail = cut(event.detail)
    moved = enter(
        scene, update, P.INSTALLING, scene.order.policy.limits.install_s,
        report=event.report, begun=True, timed_out=False, detail=detail,
    )  # fmt: skip
    return moved, (record(moved, "goes on", f"It would not be called back. {detail}".strip()),)


def called(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Stop waiting for an answer to the call."""
    if not late(scene, update):
        return update, ()
    if update.begun:
        said = "It had begun, and does not answer the call back."
        return unclear(scene, update, facts, said, timed_out=True)
    seen = read_after(facts, update.entered_ns)
    if seen == scene.order.version:
        said = "It never said that it began, does not answer the call back, and runs the release."
        return unclear(scene, update, facts, said)
    if seen:
        said = "It has not begun, and cannot any more."
        return called_off(scene, structs.replace(update, **reading(facts)), said)
    if late(scene, update, scene.order.policy.limits.readback_s):
        said = "It does not answer the call back, and no version is read from it."
        return unclear(scene, update, facts, said, timed_out=True)
    return update, ()
