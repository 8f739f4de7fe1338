"""The case's phases and what leads from one to the next, drawn from the table of `cloud.core.case`.

Events that leave the phase as it is are not drawn. An event that no arrow names changes nothing,
or only what the case remembers.
"""

from cloud.core.case import TABLE, TERMINAL, Phase
from cloud.core.returns import GOOD_ENDS


def mermaid() -> str:
    """Return the state diagram in Mermaid's language."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.OBSERVING}"]
    lines.append(f"    [*] --> {Phase.DISPATCHED}: unsafe")
    for phase, rules in TABLE.items():
        reasons: dict[Phase, list[str]] = {}
        for event, rule in rules.items():
            for target in sorted(rule.to, key=list(Phase).index):
                reasons.setdefault(target, []).append(event.__name__)
        lines += [f"    {phase} --> {to}: {', '.join(names)}" for to, names in reasons.items()]
    lines += [f"    {phase} --> {Phase.OBSERVING}: the fault is back" for phase in GOOD_ENDS]
    lines += [f"    {phase} --> [*]" for phase in TERMINAL]
    return "\n".join(lines)
