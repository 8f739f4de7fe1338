"""The phases of rollouts and of updates, drawn from the tables of their cores.

Events that leave the phase as it is are not drawn. What no arrow names changes nothing, or only
what is remembered.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from cloud.core import rollout, updating
from cloud.core.rollout_states import ENDED, ENDS, Phase, UpdatePhase
from cloud.core.updating import Cause

P = TypeVar("P", bound=Enum)


def rollouts() -> str:
    """Return the state diagram of a rollout in Mermaid's language."""
    table = {
        phase: [(event.__name__, rule.to) for event, rule in rules.items()]
        for phase, rules in rollout.TABLE.items()
    }
    begins = (Phase.PROPOSED, Phase.AWAITING_APPROVAL, Phase.RUNNING)
    return _drawn(table, begins, ENDED, list(Phase))


def updates() -> str:
    """Return the state diagram of one machine's update in Mermaid's language."""
    table = {
        phase: [(_name(cause), rule.to) for cause, rule in rules.items()]
        for phase, rules in updating.TABLE.items()
    }
    return _drawn(table, (UpdatePhase.WAITING,), ENDS, list(UpdatePhase))


def _name(cause: Cause) -> str:
    return cause.value if isinstance(cause, Enum) else cause.__name__


def _drawn(
    table: Mapping[P, Iterable[tuple[str, frozenset[P]]]],
    begins: Iterable[P],
    ends: Iterable[P],
    order: list[P],
) -> str:
    lines = ["stateDiagram-v2", *(f"    [*] --> {phase.value}" for phase in begins)]
    for phase, rules in table.items():
        reasons: dict[P, list[str]] = {}
        for name, to in rules:
            for target in sorted(to, key=order.index):
                reasons.setdefault(target, []).append(name)
        lines += [
            f"    {phase.value} --> {to.value}: {', '.join(names)}" for to, names in reasons.items()
        ]
    lines += [f"    {phase.value} --> [*]" for phase in ends]
    return "\n".join(lines)
