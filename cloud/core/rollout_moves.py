"""Moves that several rules of a rollout share: move a machine, change the phase, stop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import structs

from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    ACTIVE,
    Effect,
    Facts,
    Phase,
    Record,
    Rollout,
    Stop,
    StopKind,
    Ticked,
    Update,
    UpdatePhase,
)
from cloud.core.rollout_tally import Tally, tally
from cloud.core.update_moves import GATEWAY
from cloud.core.updating import Cause, News, Scene, Word, advance

UNHEARD = Facts(silent=True)
WITH_RELEASE = (UpdatePhase.WATCHING, UpdatePhase.UPDATED)


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


def scene_of(turn: Turn) -> Scene:
    """Return what updates must know of the rollout as it is by now."""
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


def move(turn: Turn, scene: Scene, update: Update, cause: Cause, news: News) -> Scene:
    """Let something happen to one update; return the scene of the next."""
    moved, effects = advance(scene, update, cause, news)
    if moved is update:
        return scene
    turn.changed[update.device] = moved
    turn.effects += effects
    if moved.action != scene.action:
        return scene
    turn.rollout = structs.replace(turn.rollout, actions=turn.rollout.actions + 1)
    return scene_of(turn)


def enter(turn: Turn, phase: Phase, record: Record, **changes: object) -> None:
    """Go to a phase and say why."""
    turn.rollout = structs.replace(turn.rollout, phase=phase, entered_ns=turn.now_ns, **changes)
    turn.effects.append(record)


def begin_stop(turn: Turn, kind: StopKind, detail: str, by: str = GATEWAY) -> None:
    """Stop for a reason: count what was reached, and call back what is under way."""
    count: Tally = tally(turn.each())
    stop = Stop(
        kind=kind, detail=detail, at_ns=turn.now_ns, reached=count.reached, harmed=count.harmed
    )
    said = f"{detail} The release had reached {count.reached} machines."
    enter(turn, Phase.STOPPING, Record(by, "stopping", said), stop=stop)
    call_back(turn)


def call_back(turn: Turn) -> None:
    """Leave out what waits and call back what has begun."""
    scene = scene_of(turn)
    for update in list(turn.each()):
        if update.phase is UpdatePhase.WAITING:
            scene = move(turn, scene, update, Word.LEAVE, UNHEARD)
        elif update.phase in (UpdatePhase.OFFERED, UpdatePhase.INSTALLING):
            scene = move(turn, scene, update, Word.CALL_BACK, UNHEARD)


def take_back(turn: Turn, event: Ticked) -> None:
    """Take machines with the release back, if the policy says so."""
    if not turn.rollout.order.policy.revert:
        return
    scene = scene_of(turn)
    for update in list(turn.each()):
        if update.phase in WITH_RELEASE:
            facts = event.facts.get(update.device, UNHEARD)
            scene = move(turn, scene, update, Word.GO_BACK, facts)


def is_active(turn: Turn) -> bool:
    """Tell whether any action is open."""
    return any(update.phase in ACTIVE for update in turn.each())
