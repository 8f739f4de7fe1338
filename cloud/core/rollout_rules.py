"""What a rollout does as time passes and machines speak; `cloud.core.rollout` says when."""

import math

from msgspec import structs

from cloud.core.rollout_moves import (
    UNHEARD,
    WITH_RELEASE,
    Turn,
    begin_stop,
    call_back,
    enter,
    is_active,
    move,
    scene_of,
    take_back,
)
from cloud.core.rollout_states import (
    ACTIVE,
    ENDS,
    Compared,
    Fetched,
    Phase,
    Record,
    Reported,
    StopKind,
    Ticked,
    Update,
    UpdatePhase,
)
from cloud.core.rollout_tally import log_threshold, over_limit, tally
from cloud.core.update_moves import GATEWAY, NS
from cloud.core.updating import TABLE, Word
from cloud.core.windows import is_open
from contract.errors import Malformed
from models import harm

_TIMED = frozenset(p for p, rules in TABLE.items() if Ticked in rules) - {UpdatePhase.WAITING}


# Time.


def run(turn: Turn, event: Ticked) -> None:
    """Let time pass for every machine; stop, go to the next stage, or begin machines."""
    if _pass_time(turn, event):
        return
    rollout = turn.rollout
    still = [u for u in turn.each() if u.phase not in ENDS]
    if not still:
        said = f"Every machine has come to its end with {rollout.order.version}."
        enter(turn, Phase.FINISHED, Record(GATEWAY, "finished", said))
        return
    later = [u.stage for u in still if u.stage > rollout.stage]
    if not later or not _stage_is_over(turn, still):
        _begin(turn, event)
        return
    said = f"Stage {min(later) + 1} of {len(rollout.order.policy.stages)} begins."
    turn.effects.append(Record(GATEWAY, "stage", said))
    turn.rollout = structs.replace(rollout, stage=min(later), stage_ns=turn.now_ns)


def _stage_is_over(turn: Turn, still: list[Update]) -> bool:
    """Tell whether the next stage may begin.

    Machines that cannot be begun now do not hold the others up, once any has shown that it is well
    with the release; they are begun when they can be.
    """
    here = [u for u in still if u.stage <= turn.rollout.stage]
    if any(u.phase is not UpdatePhase.WAITING or not u.since_ns for u in here):
        return False
    return not here or any(u.phase is UpdatePhase.UPDATED for u in turn.each())


def rest(turn: Turn, event: Ticked) -> None:
    """Let time pass for every machine and begin none."""
    _pass_time(turn, event)


def _pass_time(turn: Turn, event: Ticked) -> bool:
    """Let time pass; true if that stops the rollout."""
    _tick(turn, event)
    limit = over_limit(turn.rollout.order.policy.limits, tally(turn.each()))
    if limit is None:
        return False
    begin_stop(turn, *limit)
    take_back(turn, event)
    return True


def _tick(turn: Turn, event: Ticked) -> None:
    scene, facts = scene_of(turn), event.facts
    begins, stage = turn.rollout.phase in (Phase.RUNNING, Phase.PAUSED), turn.rollout.stage
    for device, update in turn.updates.items():
        phase = update.phase
        waits = phase is UpdatePhase.WAITING and begins and update.stage <= stage
        if waits or phase in _TIMED:
            scene = move(turn, scene, update, Ticked, facts.get(device, UNHEARD))


def _begin(turn: Turn, event: Ticked) -> None:
    rollout, now_ns = turn.rollout, turn.now_ns
    ready = [
        u
        for u in turn.each()
        if u.phase is UpdatePhase.WAITING
        and u.stage <= rollout.stage
        and not u.since_ns
        and u.not_before_ns <= now_ns
    ]
    if not ready or not is_open(rollout.order.policy.window, now_ns):
        return
    recent, room = _room(turn)
    scene = scene_of(turn)
    for update in sorted(ready, key=lambda u: u.turn):
        if room <= 0:
            break
        given = scene.action
        scene = move(turn, scene, update, Word.BEGIN, event.facts.get(update.device, UNHEARD))
        if scene.action != given:
            recent.append(now_ns)
            room -= 1
    if turn.rollout.actions != rollout.actions:
        turn.rollout = structs.replace(turn.rollout, offered_ns=recent)


def _room(turn: Turn) -> tuple[list[int], int]:
    """Return when machines were begun of late, and how many more may be begun now."""
    ramp = turn.rollout.order.policy.ramp
    ran = sum(1 for u in turn.each() if u.phase in WITH_RELEASE)
    highest = math.log(ramp.max_per_minute / ramp.base_per_minute)
    grown = min(ran // ramp.every * math.log(ramp.factor), highest)
    per_minute = ramp.base_per_minute * math.exp(grown)
    # Less than one in a minute is one in a longer time.
    from_ns = turn.now_ns - int(60 * NS / min(per_minute, 1.0))
    recent = [at_ns for at_ns in turn.rollout.offered_ns if at_ns > from_ns]
    return recent, max(1, int(per_minute + 1e-9)) - len(recent)


# The end of a rollout.


def stopping(turn: Turn, event: Ticked) -> None:
    """Call back, take back, and wait until no action is open."""
    _tick(turn, event)
    call_back(turn)
    take_back(turn, event)
    if not is_active(turn):
        stop = turn.rollout.stop
        said = f"Stopped: {stop.detail}" if stop else "Stopped."
        enter(turn, Phase.STOPPED, Record(GATEWAY, "stopped", said))


def cancelling(turn: Turn, event: Ticked) -> None:
    """Wait until what was under way has come to its end."""
    _tick(turn, event)
    call_back(turn)
    if not is_active(turn):
        enter(turn, Phase.CANCELED, Record(GATEWAY, "canceled", "Nothing is under way any more."))


def look_again(turn: Turn, event: Ticked) -> None:
    """Look for a while at machines that ended without the release: a restart may bring it out."""
    _tick(turn, event)


# Machines.


def report(turn: Turn, event: Reported) -> None:
    """Take an installer's word; one about another action goes to the records only."""
    update = turn.updates.get(event.device)
    if update is None:
        return
    if update.phase in ACTIVE and event.action == update.action:
        move(turn, scene_of(turn), update, event.report, event)
        return
    said = f"Said '{event.report.value}' about action {event.action}, which is not its open one."
    turn.effects.append(Record(GATEWAY, "stray report", said, event.device))


def fetch(turn: Turn, event: Fetched) -> None:
    """Note that a machine asked for the image of its open action."""
    update = turn.updates.get(event.device)
    if update is not None and update.phase in ACTIVE and event.action == update.action:
        move(turn, scene_of(turn), update, Fetched, event)


def compare(turn: Turn, event: Compared) -> None:
    """Add one machine's look to the evidence, and stop if that is enough.

    Raises:
        Malformed: what should be p-values are none.
    """
    update, gate = turn.updates.get(event.device), turn.rollout.order.policy.gate
    if not event.p_values or not all(0 < p <= 1 for p in event.p_values):
        raise Malformed(f"{event.p_values} are no p-values; they are above 0 and at most 1")
    if update is None or turn.rollout.command_id or not (0 <= event.look < len(gate.looks)):
        return
    if event.look != len(update.looks) or not (update.phase in WITH_RELEASE or update.harm):
        return
    looks = [*update.looks, list(event.p_values)]
    turn.changed[update.device] = structs.replace(update, looks=looks)
    evidence = _evidence(turn, event.look)
    rows = [list(row) for row in turn.rollout.log_evidence] or [[] for _ in gate.looks]
    rows[event.look] = evidence
    turn.rollout = structs.replace(turn.rollout, log_evidence=rows)
    threshold = log_threshold(gate, max(len(row) for row in rows))
    if max(evidence) >= threshold:
        measure = evidence.index(max(evidence))
        share = gate.looks[event.look]
        named = dict(enumerate(event.measures)).get(measure, f"measure {measure + 1}")
        detail = (
            f"Machines with the release are worse than those without: after {share:.0%} of the "
            f"soak the evidence by '{named}' is 1 to {_odds(max(evidence))} against chance."
        )
        begin_stop(turn, StopKind.HEALTH, detail)


def _evidence(turn: Turn, look: int) -> list[float]:
    """Return what all machines' p-values at one look say together, by measure."""
    columns: list[list[float]] = []
    for update in turn.each():
        if len(update.looks) > look:
            for i, p in enumerate(update.looks[look]):
                if i == len(columns):
                    columns.append([])
                columns[i].append(p)
    return [harm.log_evidence(column) for column in columns]


def _odds(log_evidence: float) -> str:
    return f"{math.exp(min(log_evidence, 20.0)):,.0f}"
