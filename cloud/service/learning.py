"""What confirmed answers have taught, per machine type, and the ranking that uses it.

A label is learnt exactly once: it is saved together with the state that has learnt it, and an
effect that is repeated after a crash finds its label there already.
"""

import logging

from cloud.service.lives import Lives
from cloud.service.parts import Parts
from contract.errors import Malformed
from contract.faults import Hypothesis
from contract.machines import CheckKind, MachineType
from contract.tickets import FailedCheck, Label
from models import learned
from models.checks import CheckResult
from models.learned import Learned
from models.monitor import Assessment

log = logging.getLogger(__name__)


class Learning:
    """The learnt states of all machine types."""

    def __init__(self, parts: Parts, lives: Lives) -> None:
        self._memory, self._lives = parts.store.memory, lives
        self._machines = parts.machines
        used = {asset.machine_type for asset in parts.assets.values()}
        self._states = {name: self._begin(parts.machines[name]) for name in sorted(used)}

    def _begin(self, machine: MachineType) -> Learned:
        """Go on from what was saved; learn all labels anew where that does not fit any more."""
        saved = self._memory.model(_name(machine))
        try:
            if saved is not None:
                return learned.restore(machine, saved)
        except Malformed as error:
            log.warning("labels of %s are learnt anew: %s", machine.name, error)
        state = _learnt(machine, self._memory.labels())
        if state.findings:
            self._memory.put_models({_name(machine): learned.save(state, machine)})
        return state

    def rank(self, machine: MachineType, assessment: Assessment) -> list[Hypothesis]:
        """Rank the faults by the machine type's table and by what earlier cases were."""
        state = self._states.get(machine.name) or learned.empty(machine)
        return learned.rank(state, machine, assessment.deviations, assessment.checks)

    def take(self, label: Label) -> None:
        """Keep a confirmed answer and learn it; the same again changes nothing.

        Raises:
            Unreachable: the database does not answer; nothing was kept or learnt.
        """
        before = self._memory.label(label.case, label.source)
        machine = self._machines.get(label.machine_type)
        if before == label:
            return
        if machine is None:
            self._memory.put_label(label, {})
            return
        models, change = dict[str, bytes](), None
        if before is None:
            state = self._copy(machine)
            _learn(state, machine, label)
            change = self._lives.ended(label, machine)
        else:  # what was learnt cannot be taken back out of a state
            key = label.case, label.source
            others = [old for old in self._memory.labels() if (old.case, old.source) != key]
            state = _learnt(machine, [*others, label])
        models[_name(machine)] = learned.save(state, machine)
        if change is not None:
            models[change.name] = change.data
        self._memory.put_label(label, models)
        self._states[machine.name] = state
        if change is not None:
            self._lives.apply(change)

    def _copy(self, machine: MachineType) -> Learned:
        """Return the state as it is, to learn in: it counts only once it is saved."""
        state = self._states.get(machine.name) or self._begin(machine)
        return learned.restore(machine, learned.save(state, machine))


def failed_checks(assessment: Assessment) -> list[FailedCheck]:
    """Return the failed checks as cases and labels keep them."""
    return [FailedCheck(c.kind.value, c.signal, c.detail) for c in assessment.checks]


def _name(machine: MachineType) -> str:
    return f"learned/{machine.name}"


def _learnt(machine: MachineType, labels: list[Label]) -> Learned:
    state = learned.empty(machine)
    for label in labels:
        if label.machine_type == machine.name:
            _learn(state, machine, label)
    return state


def _learn(state: Learned, machine: MachineType, label: Label) -> None:
    """Learn a label that has a picture: of a machine that fell silent nothing was seen."""
    known = {kind.value for kind in CheckKind}
    checks = [
        CheckResult(CheckKind(c.kind), c.signal, c.detail) for c in label.checks if c.kind in known
    ]
    if label.deviations or checks:
        learned.learn(state, machine, label.deviations, checks, label.fault)
