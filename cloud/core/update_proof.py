"""What an update does from the installer's verdict on: `cloud.core.updating` says when.

Nobody's word is the truth: an update goes on only when what the installer said and the version read
from the machine afterwards agree. Where they do not, it ends unclear and a case is opened.
"""

from msgspec import structs

from cloud.core.rollout_states import Facts, Report, Reported, Update, UpdatePhase
from cloud.core.stages import passed
from cloud.core.update_moves import (
    Moved,
    Scene,
    again,
    called_off,
    cut,
    end,
    enter,
    in_ns,
    late,
    read_after,
    reading,
    record,
    start_back,
    unclear,
)

P = UpdatePhase


# What it said, and what it runs.


def check(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Compare the installer's verdict with the version read after it."""
    seen = read_after(facts, update.reported_ns)
    if update.report is not Report.SUCCESS:
        return _check_no(scene, update, facts, seen)
    if seen == scene.order.version:
        return _watch(scene, update, facts)
    if not late(scene, update):
        return update, ()
    runs = f"it runs {seen}" if seen else "no version has been read since"
    said = f"It said 'success', but {runs}."
    return unclear(scene, update, facts, said, timed_out=not seen)


def _check_no(scene: Scene, update: Update, facts: Facts, seen: str) -> Moved:
    said = f"It said '{update.report.value}'. {update.detail}".strip()
    canceled, policy = update.report is Report.CANCELED, scene.order.policy
    if seen == update.from_version:
        return _not_installed(scene, structs.replace(update, **reading(facts)), said)
    if canceled and seen == scene.order.version and policy.revert:
        return start_back(scene, update, facts, "It said 'canceled', but it runs the release.")
    if seen:
        return unclear(scene, update, facts, f"{said} But it runs {seen}.")
    if not late(scene, update):
        return update, ()
    if canceled and not update.begun:
        return called_off(scene, update, said)
    unread = f"{said} No version has been read since."
    return unclear(scene, update, facts, unread, timed_out=True)


def _not_installed(scene: Scene, update: Update, said: str) -> Moved:
    if update.report is Report.CANCELED:
        return called_off(scene, update, said)
    if update.report is Report.REFUSED:
        return end(scene, update, P.FAILED, said)
    return again(scene, update, said)


def _watch(scene: Scene, update: Update, facts: Facts) -> Moved:
    said = f"It runs {scene.order.version}, read from the machine."
    read = structs.replace(update, **reading(facts), timed_out=False, watched_ns=scene.now_ns)
    if scene.of_case:
        return end(scene, read, P.UPDATED, said)
    soak_s = scene.order.policy.stages[update.stage].soak_s
    patience_s = soak_s + scene.order.policy.limits.readback_s
    moved = enter(scene, read, P.WATCHING, patience_s, detail=said)
    return moved, (record(moved, "watched", f"{said} Its health is watched."),)


# With the release.


def observe(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Watch version and health until the soak is over."""
    policy, now_ns = scene.order.policy, scene.now_ns
    seen = read_after(facts, update.version_ns)
    if seen and seen != scene.order.version:
        return unclear(scene, update, facts, f"It went from {scene.order.version} to {seen}.")
    sick = "its detector is in alarm" if facts.alarm else ""
    sick = "nothing comes from it" if facts.silent else sick
    settle_ns = in_ns(policy.gate.settle_s)
    since_ns = update.since_ns or now_ns if sick else 0
    if now_ns < update.watched_ns + settle_ns:
        since_ns = 0
    lasted_ns = now_ns - max(since_ns, scene.listening_ns)
    if since_ns and lasted_ns >= settle_ns and not update.harm:
        lost = structs.replace(update, lost=facts.silent)
        return _harm(scene, lost, facts, f"With {scene.order.version}, {sick}.")
    over = now_ns >= update.watched_ns + in_ns(policy.stages[update.stage].soak_s)
    if over and (update.harm or not sick):
        return _prove(scene, update, facts)
    return (
        update if since_ns == update.since_ns else structs.replace(update, since_ns=since_ns)
    ), ()


def _prove(scene: Scene, update: Update, facts: Facts) -> Moved:
    """End with the release if the machine shows it still."""
    if facts.version == scene.order.version:
        read = structs.replace(update, **reading(facts))
        return end(scene, read, P.UPDATED, update.harm or "It runs the release and is well.")
    if late(scene, update):
        said = "It shows no version any more."
        return unclear(scene, update, facts, said, timed_out=True)
    return update, ()


def _harm(scene: Scene, update: Update, facts: Facts, said: str) -> Moved:
    harmed = structs.replace(update, harm=said, detail=said)
    told = record(harmed, "harmed", said)
    if not scene.order.policy.revert:
        return harmed, (told,)
    moved, effects = start_back(scene, harmed, facts, said)
    return moved, (told, *effects)


def go_back(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Take the release back, unless the machine has left it or is taken."""
    release, seen = scene.order.version, read_after(facts, update.version_ns)
    moved_on = bool(seen) and seen != release and bool(passed(seen, release))
    if facts.elsewhere or moved_on:
        said = f"Not taken back: it runs {seen} by now." if moved_on else "Another rollout has it."
        return (update if said == update.detail else structs.replace(update, detail=said)), ()
    if seen and seen != release:
        return unclear(scene, update, facts, f"It went from {release} to {seen}.")
    return start_back(scene, update, facts, "The rollout was stopped.")


# On the way back.


def revert_said(scene: Scene, update: Update, event: Reported) -> Moved:
    """Take the installer's first word about going back, and read the version next."""
    if update.report not in (Report.NOTHING, Report.TAKEN):
        return update, ()
    detail, patience_s = cut(event.detail), scene.order.policy.limits.readback_s
    moved = structs.replace(
        update,
        report=event.report,
        reported_ns=min(event.at_ns, scene.now_ns),
        deadline_ns=scene.now_ns + in_ns(patience_s),
        detail=detail,
    )
    said = f"It says '{event.report.value}' to going back. {detail}".strip()
    return moved, (record(moved, "reported", said),)


def revert_failed(scene: Scene, update: Update, event: Reported) -> Moved:
    """End unclear: going back went wrong."""
    if update.report not in (Report.NOTHING, Report.TAKEN):
        return update, ()
    said = f"Going back to {update.from_version} failed. {cut(event.detail)}".strip()
    failed = structs.replace(update, report=event.report, reported_ns=scene.now_ns)
    return unclear(scene, failed, Facts(), said)


def returning(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Wait until the version before is read, and the installer has said so."""
    seen = read_after(facts, max(update.entered_ns, update.reported_ns))
    there, over = seen == update.from_version, late(scene, update)
    quiet = update.report in (Report.NOTHING, Report.TAKEN)
    if there and (over or not quiet):
        read = structs.replace(update, **reading(facts))
        word = "without a word of its installer" if quiet else "read from the machine"
        return end(scene, read, P.REVERTED, f"It runs {seen} again, {word}.")
    if over:
        runs = f"it runs {seen}" if seen else "no version was read"
        said = f"It did not come back to {update.from_version}: {runs}. {update.detail}".strip()
        return unclear(scene, update, facts, said, timed_out=not seen)
    soon_ns = scene.now_ns + in_ns(scene.order.policy.limits.readback_s)
    if there and soon_ns < update.deadline_ns:
        return structs.replace(update, deadline_ns=soon_ns), ()
    return update, ()


def doubt(scene: Scene, update: Update, facts: Facts) -> Moved:
    """Look once more at a machine that has just ended without the release."""
    seen = read_after(facts, max(update.entered_ns, update.version_ns))
    if seen != scene.order.version or facts.elsewhere or late(scene, update):
        return update, ()
    return unclear(scene, update, facts, f"{update.detail} But now it runs {seen}.")
