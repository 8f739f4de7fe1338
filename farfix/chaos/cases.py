"""Whether cases live through a drill: none vanishes, none forgets, none goes back."""

from collections.abc import Mapping, Sequence

from cloud.core.case import TABLE
from cloud.core.returns import GOOD_ENDS
from cloud.core.states import Phase
from farfix.api import Detail
from farfix.demo import report
from farfix.demo.machines import Broken
from farfix.demo.script import EXPECTED, Injection

PROBLEMS_MAX = 100


def _successors() -> dict[str, set[str]]:
    """Return which phases can follow a phase, over any number of steps; itself is one."""
    found = {
        phase: {phase, *(to for rule in TABLE.get(phase, {}).values() for to in rule.to)}
        for phase in Phase
    }
    for _ in Phase:
        found = {p: {s for step in steps for s in found[step]} for p, steps in found.items()}
    return {str(phase): {str(to) for to in steps} for phase, steps in found.items()}


SUCCESSORS = _successors()
RETURNS = [str(phase) for phase in GOOD_ENDS]


class History:
    """Every case as it was last seen, and what was wrong with how it went on."""

    def __init__(self) -> None:
        self.details: dict[str, Detail] = {}
        self.problems: list[str] = []

    def note(self, details: Sequence[Detail]) -> None:
        """Compare all cases as the gateway shows them now with what was known."""
        now = {detail.case_id: detail for detail in details}
        for case_id, known in self.details.items():
            if case_id not in now:
                self._complain(f"case {case_id} is gone")
            else:
                self._compare(known, now[case_id])
        self.details.update(now)

    def _compare(self, known: Detail, now: Detail) -> None:
        name = known.case_id
        if now.timeline[: len(known.timeline)] != known.timeline:
            self._complain(f"case {name} forgot some of its timeline")
        if known.phase in RETURNS and now.opened_ns > known.opened_ns:
            return  # its fault came back: it was opened anew
        if now.phase not in SUCCESSORS[known.phase]:
            self._complain(f"case {name} went from {known.phase} to {now.phase}")
        if (now.device, now.opened_ns) != (known.device, known.opened_ns):
            self._complain(f"case {name} is another one")
        if known.ticket_key is not None and now.ticket_key != known.ticket_key:
            self._complain(f"case {name} changed its ticket")

    def _complain(self, text: str) -> None:
        if text not in self.problems and len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


def judge(
    script: Sequence[Injection],
    truth: Sequence[Broken],
    details: Sequence[Detail],
    tickets: Mapping[str, object],
) -> list[str]:
    """Say what is wrong with the cases at the end.

    Args:
        script: the faults that were injected.
        truth: what the simulator knows of them.
        details: all cases.
        tickets: what reached dispatch, by key.
    """
    found = [f"case {i}: nothing was wrong" for i in report.false_cases(script, truth, details)]
    found += [
        f"case {i} was called well while the fault went on"
        for i in report.false_recoveries(truth, details)
    ]
    for injection in script:
        own = [
            c for b in truth if b.device == injection.device for c in report.own_cases(b, details)
        ]
        if not own:
            found.append(f"{injection.device}: nobody noticed {injection.fault}")
        elif report.outcome(own) != EXPECTED[injection.nature] and not own[-1].open:
            found.append(f"{injection.device}: {injection.fault} ended as {own[-1].phase}")
    keys = [d.ticket_key for d in details if d.ticket_key is not None]
    found += [
        f"ticket {key} belongs to two cases" for key in sorted(set(keys)) if keys.count(key) > 1
    ]
    cases = {d.case_id for d in details}
    strange = sorted(key for key in tickets if key.partition("~")[0] not in cases)
    found += [f"ticket {key} belongs to no case" for key in strange]
    found += [f"ticket {key} did not reach dispatch" for key in sorted(set(keys) - set(tickets))]
    return found
