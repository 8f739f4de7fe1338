"""What a rollout does about each event; `cloud.core.rollout` says when."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import structs

from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ACTIVE,
    ENDS,
    Approved,
    Canceled,
    Compared,
    Effect,
    Facts,
    Fetched,
    Paused,
    Phase,
    Record,
    Reported,
    Resumed,
    Rollout,
    Stop,
    StopAsked,
    StopKind,
    Ticked,
    Update,
    UpdatePhase,
)
from cloud.core.rollout_tally import Tally, log_threshold, over_limit, tally
from cloud.core.update_moves import GATEWAY, NS
from cloud.core.updating import TABLE, Cause, News, Scene, Word, advance
from cloud.core.windows import is_open
from contract.errors import Malformed, Refused
from models import harm

UNHEARD = Facts(silent=True)
NAME_MAX = 80
WHY_MAX = 1000
_TIMED = frozenset(p for p, rules in TABLE.items() if Ticked in rules) - {UpdatePhase.WAITING}
_WITH_RELEASE = (UpdatePhase.WATCHING, UpdatePhase.UPDATED)


@dataclass(slots=True)
class Turn:
    """One step under way: what it has changed so far, and what must be done about it."""

    rollout: Rollout
    updates: Mapping[str, Update]
    now_ns: int
    listening_ns: int
    changed: dict[str, Update] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)

    def each(self) -> Iterator[Update]:
        """Return all updates as they are by now."""
        changed = self.changed
        for device, update in self.updates.items():
            yield changed.get(device, update)


def _scene(turn: Turn) -> Scene:
    rollout = turn.rollout
    return Scene(
        order=rollout.order,
        phase=rollout.phase,
        of_case=bool(rollout.command_id),
        action=first_action(rollout.number) + rollout.actions,
        now_ns=turn.now_ns,
        listening_ns=turn.listening_ns,
    )


def first_action(number: int) -> int:
    """Return the first action's number of a rollout."""
    return number * ACTIONS_PER_ROLLOUT + 1


def _move(turn: Turn, scene: Scene, update: Update, cause: Cause, news: News) -> Scene:
    """Let something happen to one update; return the scene of the next."""
    moved, effects = advance(scene, update, cause, news)
    if moved is update:
        return scene
    turn.changed[update.device] = moved
    turn.effects += effects
    if moved.action != scene.action:
        return scene
    turn.rollout = structs.replace(turn.rollout, actions=turn.rollout.actions + 1)
    return _scene(turn)


def _enter(turn: Turn, phase: Phase, record: Record, **changes: object) -> None:
    turn.rollout = structs.replace(turn.rollout, phase=phase, entered_ns=turn.now_ns, **changes)
    turn.effects.append(record)


# Time.


def run(turn: Turn, event: Ticked) -> None:
    """Let time pass for every machine; stop, go to the next stage, or begin machines."""
    if _pass_time(turn, event):
        return
    rollout = turn.rollout
    still = [u for u in turn.each() if u.phase not in ENDS]
    if not still:
        said = f"Every machine has come to its end with {rollout.order.version}."
        _enter(turn, Phase.FINISHED, Record(GATEWAY, "finished", said))
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
    _stop(turn, *limit)
    _take_back(turn, event)
    return True


def _tick(turn: Turn, event: Ticked) -> None:
    scene, facts = _scene(turn), event.facts
    begins, stage = turn.rollout.phase in (Phase.RUNNING, Phase.PAUSED), turn.rollout.stage
    for device, update in turn.updates.items():
        phase = update.phase
        waits = phase is UpdatePhase.WAITING and begins and update.stage <= stage
        if waits or phase in _TIMED:
            scene = _move(turn, scene, update, Ticked, facts.get(device, UNHEARD))


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
    scene = _scene(turn)
    for update in sorted(ready, key=lambda u: u.turn):
        if room <= 0:
            break
        given = scene.action
        scene = _move(turn, scene, update, Word.BEGIN, event.facts.get(update.device, UNHEARD))
        if scene.action != given:
            recent.append(now_ns)
            room -= 1
    if turn.rollout.actions != rollout.actions:
        turn.rollout = structs.replace(turn.rollout, offered_ns=recent)


def _room(turn: Turn) -> tuple[list[int], int]:
    """Return when machines were begun of late, and how many more may be begun now."""
    ramp = turn.rollout.order.policy.ramp
    ran = sum(1 for u in turn.each() if u.phase in _WITH_RELEASE)
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
    _call_back(turn)
    _take_back(turn, event)
    if not _active(turn):
        stop = turn.rollout.stop
        said = f"Stopped: {stop.detail}" if stop else "Stopped."
        _enter(turn, Phase.STOPPED, Record(GATEWAY, "stopped", said))


def cancelling(turn: Turn, event: Ticked) -> None:
    """Wait until what was under way has come to its end."""
    _tick(turn, event)
    _call_back(turn)
    if not _active(turn):
        _enter(turn, Phase.CANCELED, Record(GATEWAY, "canceled", "Nothing is under way any more."))


def _stop(turn: Turn, kind: StopKind, detail: str, by: str = GATEWAY) -> None:
    count: Tally = tally(turn.each())
    stop = Stop(
        kind=kind, detail=detail, at_ns=turn.now_ns, reached=count.reached, harmed=count.harmed
    )
    said = f"{detail} The release had reached {count.reached} machines."
    _enter(turn, Phase.STOPPING, Record(by, "stopping", said), stop=stop)
    _call_back(turn)


def _call_back(turn: Turn) -> None:
    scene = _scene(turn)
    for update in list(turn.each()):
        if update.phase is UpdatePhase.WAITING:
            scene = _move(turn, scene, update, Word.LEAVE, UNHEARD)
        elif update.phase in (UpdatePhase.OFFERED, UpdatePhase.INSTALLING):
            scene = _move(turn, scene, update, Word.CALL_BACK, UNHEARD)


def _take_back(turn: Turn, event: Ticked) -> None:
    if not turn.rollout.order.policy.revert:
        return
    scene = _scene(turn)
    for update in list(turn.each()):
        if update.phase in _WITH_RELEASE:
            facts = event.facts.get(update.device, UNHEARD)
            scene = _move(turn, scene, update, Word.GO_BACK, facts)


def _active(turn: Turn) -> bool:
    return any(update.phase in ACTIVE for update in turn.each())


# Machines.


def report(turn: Turn, event: Reported) -> None:
    """Take an installer's word; one about another action goes to the records only."""
    update = turn.updates.get(event.device)
    if update is None:
        return
    if update.phase in ACTIVE and event.action == update.action:
        _move(turn, _scene(turn), update, event.report, event)
        return
    said = f"Said '{event.report.value}' about action {event.action}, which is not its open one."
    turn.effects.append(Record(GATEWAY, "stray report", said, event.device))


def fetch(turn: Turn, event: Fetched) -> None:
    """Note that a machine asked for the image of its open action."""
    update = turn.updates.get(event.device)
    if update is not None and update.phase in ACTIVE and event.action == update.action:
        _move(turn, _scene(turn), update, Fetched, event)


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
    if event.look != len(update.looks) or not (update.phase in _WITH_RELEASE or update.harm):
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
        named = "score" if measure == 0 else f"key signal {measure}"
        detail = (
            f"Machines with the release are worse than those without: after {share:.0%} of the "
            f"soak the evidence by the {named} is 1 to {_odds(max(evidence))} against chance."
        )
        _stop(turn, StopKind.HEALTH, detail)


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


# People.


def take_up(turn: Turn, event: Approved) -> None:
    """Make the person who takes a proposal up its author.

    Raises:
        Refused: no such name can be kept.
    """
    _person(event.by)
    if turn.rollout.high_risk:
        said = f"{event.by} takes the proposal up. A second person must agree: the risk is high."
        record = Record(event.by, "taken up", said)
        _enter(turn, Phase.AWAITING_APPROVAL, record, author=event.by)
        return
    record = Record(event.by, "taken up", f"{event.by} takes the proposal up.")
    _enter(turn, Phase.RUNNING, record, author=event.by, stage_ns=turn.now_ns)


def approve(turn: Turn, event: Approved) -> None:
    """Begin, because a second person agrees.

    Raises:
        Refused: it is the same person, or no such name can be kept.
    """
    _person(event.by)
    if _same(event.by, turn.rollout.author):
        raise Refused(f"{event.by} asked for this rollout: a second person must approve it")
    record = Record(event.by, "approved", f"{event.by} agrees.")
    _enter(turn, Phase.RUNNING, record, approver=event.by, stage_ns=turn.now_ns)


def pause(turn: Turn, event: Paused) -> None:
    """Begin no more machines."""
    _person(event.by)
    _enter(turn, Phase.PAUSED, Record(event.by, "paused", _said("pauses it", event)))


def resume(turn: Turn, event: Resumed) -> None:
    """Begin machines again."""
    _person(event.by)
    _enter(turn, Phase.RUNNING, Record(event.by, "resumed", f"{event.by} lets it go on."))


def cancel(turn: Turn, event: Canceled) -> None:
    """End it; what was updated stays so."""
    _person(event.by)
    record = Record(event.by, "canceled", _said("ends it; updated machines stay so", event))
    _enter(turn, Phase.CANCELLING, record)
    _call_back(turn)
    if not _active(turn):
        turn.rollout = structs.replace(turn.rollout, phase=Phase.CANCELED)


def stop(turn: Turn, event: StopAsked) -> None:
    """Stop it as the gate would; machines are taken back when facts about them come."""
    _person(event.by)
    _stop(turn, StopKind.PERSON, _said("stops it", event), by=event.by)


def _said(did: str, event: Paused | Canceled | StopAsked) -> str:
    why = event.why.strip()[:WHY_MAX]
    return f"{event.by} {did}: {why}" if why else f"{event.by} {did}."


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _person(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX:
        raise Refused(f"a person's name has 1 to {NAME_MAX} characters")
