"""Diagnosis sharpened by labels: what earlier cases were found to be, beside the fault table.

Every fault is a mixture of two ways in which it may look: as its entry of the fault table says,
and as in the cases that were found to be it (a kernel on each). The table's entry counts as
`_TABLE_LABELS` labels, less the oftener labelled cases did not look like it. So the table decides
without labels, each label moves the balance a little, and a wrong entry fades. It is the
predictive distribution of a Dirichlet process whose base is the table (Ferguson, 1973; the
kernels: Lo, 1984), and the trust in an entry is that of a Beta-Bernoulli model in which every case
counts with the probability that the entry explains it.

What the technicians call `other` is kept under ``unknown``: a known picture without a name.
`no_fault_found`, and codes that the table does not have, become hypotheses of their own, which
need a picture that looks like their cases; where none does, ``unknown`` stays first.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.faults import UNKNOWN, Deviation, Hypothesis
from contract.machines import MachineType, Role
from contract.tickets import Finding
from models import artefact, diagnose
from models.checks import CheckResult
from models.tree import Floats

Flags = NDArray[np.bool_]


CAPACITY = 256
"""Cases kept per machine type. When they are full, the oldest of the commonest finding goes."""
PER_FINDING = 16
"""Cases kept of one finding, the newest: enough to show how its picture varies."""
_TABLE_LABELS = 2.0
"""The table's entry is worth so many labels: a single case does not outweigh it, three do."""
_GROWTH = 4.0
"""A fault's picture grows as it gets worse: a case stands for pictures so many times as large or
small. Beyond, its noise would be taken for symptoms."""
_SURPRISE = 0.001
"""Density that a response keeps however far it is from the case. Less than for the table's rough
signatures: what was measured once and is now its opposite speaks a thousand to one against it,
like a check."""
_ALIKE = 0.5
"""Pictures are alike when the log likelihood is this share of that of an exact match."""


class Learned(Struct):
    """What was learnt for one machine type: at most `CAPACITY` cases, oldest first."""

    pictures: Floats
    """(cases, responses): signed deviations in sigmas; NaN where nothing was judged."""
    explained: Floats
    """(cases,): probability that the table's entry explains the case, if there is no more than it
    and chance."""
    findings: list[str]
    checks: list[str]
    """The data-quality checks that failed."""


def empty(machine: MachineType) -> Learned:
    """Return the state before the first label."""
    return Learned(np.zeros((0, len(machine.with_role(Role.RESPONSE)))), np.zeros(0), [], [])


def save(learned: Learned, machine: MachineType) -> bytes:
    """Return everything needed to go on exactly here."""
    return artefact.pack(learned, _made_from(machine))


def restore(machine: MachineType, data: bytes) -> Learned:
    """Go on from saved bytes.

    Raises:
        Malformed: the bytes are damaged, or were saved for other signals or by another version.
    """
    found = artefact.unpack(data, Learned, _made_from(machine))
    count, width = len(found.findings), len(machine.with_role(Role.RESPONSE))
    sizes = (found.pictures.shape, found.explained.shape, len(found.checks))
    if sizes != ((count, width), (count,), count):
        raise Malformed("saved labels do not fit together; learn them anew")
    return found


def _made_from(machine: MachineType) -> list[list[str]]:
    return [
        ["learned", machine.name],
        *([s.name, s.unit] for s in machine.with_role(Role.RESPONSE)),
    ]


def learn(
    learned: Learned,
    machine: MachineType,
    deviations: list[Deviation],
    checks: list[CheckResult],
    finding: str,
) -> None:
    """Keep one case and what it was found to be, in place.

    Args:
        learned: the machine type's state.
        machine: the machine type.
        deviations: as the monitor gave them while the case was open.
        checks: the data-quality checks that failed then.
        finding: a fault's code, or a `contract.tickets.Finding`.
    """
    code = UNKNOWN if finding in (Finding.OTHER, "") else str(finding)
    score = diagnose.likelihoods(machine, deviations, checks).get(code, 0.0)
    explained = 1 / (1 + math.exp(-max(score, -500.0)))
    picture = _picture(machine, deviations, checks)
    if len(picture) != learned.pictures.shape[1]:
        return
    learned.pictures = np.vstack([learned.pictures, picture])
    learned.explained = np.append(learned.explained, explained)
    learned.findings.append(code)
    learned.checks.append(_failing(checks))
    if learned.findings.count(code) > PER_FINDING:
        _forget(learned, learned.findings.index(code))
    elif len(learned.findings) > CAPACITY:
        commonest = max(learned.findings, key=learned.findings.count)
        _forget(learned, learned.findings.index(commonest))


def _forget(learned: Learned, case: int) -> None:
    learned.pictures = np.delete(learned.pictures, case, axis=0)
    learned.explained = np.delete(learned.explained, case)
    del learned.findings[case], learned.checks[case]


def rank(
    learned: Learned,
    machine: MachineType,
    deviations: list[Deviation],
    checks: list[CheckResult],
) -> list[Hypothesis]:
    """Rank the faults by the table and by earlier cases; without labels as `models.diagnose.rank`.

    Returns:
        Every fault of the table, ``unknown``, and whatever else was found, likeliest first; the
        probabilities sum to 1. Evidence says which earlier cases counted.
    """
    picture = _picture(machine, deviations, checks)
    fits = len(picture) == learned.pictures.shape[1]
    if not (learned.findings and fits and (checks or np.isfinite(picture).any())):
        return diagnose.rank(machine, deviations, checks)
    table = diagnose.likelihoods(machine, deviations, checks)
    closeness, alike = _closeness(learned, picture, _failing(checks))
    scores, said = dict(table), {}
    for code in dict.fromkeys(learned.findings):
        cases = np.array([f == code for f in learned.findings])
        trust = _trust(learned, cases) if code in table and code != UNKNOWN else 1.0
        scores[code] = _score(table.get(code), trust, closeness[cases])
        said[code] = _evidence(machine, code, int(alike[cases].sum()), int(cases.sum()), trust)
    ranked = diagnose.hypotheses(machine, deviations, checks, scores)
    return [Hypothesis(h.fault, h.probability, said.get(h.fault, []) + h.evidence) for h in ranked]


def _score(table: float | None, trust: float, closeness: Floats) -> float:
    """Return the log likelihood of what is seen under one finding.

    What the mixture leaves, because the table's entry has lost trust or there is none, goes to no
    fault. All findings have the same prior, as in the table's ranking: which cases get a label is
    no measure of how often a fault comes, and a new fault is not rarer because others had labels.
    """
    terms: list[float] = closeness.tolist()
    if table is not None:
        terms.append(table + math.log(_TABLE_LABELS * trust))
    top = max(terms)
    total = math.log(math.fsum(math.exp(t - top) for t in terms)) + top
    return total - math.log(_TABLE_LABELS + len(closeness))


def _trust(learned: Learned, cases: Flags) -> float:
    """Return the probability that the table's entry holds: 1 without cases."""
    explained: list[float] = learned.explained[cases].tolist()
    return (1 + sum(explained)) / (1 + len(explained))


def _picture(
    machine: MachineType, deviations: list[Deviation], checks: list[CheckResult]
) -> Floats:
    seen = diagnose.signed(machine, deviations, checks)
    names = [s.name for s in machine.with_role(Role.RESPONSE)]
    return np.array([seen.get(name, math.nan) for name in names])


def _failing(checks: list[CheckResult]) -> str:
    return ", ".join(sorted(f"{c.kind} {c.signal}" for c in checks))


def _closeness(learned: Learned, picture: Floats, failing: str) -> tuple[Floats, Flags]:
    """Return the log likelihood of a picture under every case, and whether the two are alike.

    Each response that both pictures have counts: its saturated deviation lies around that of the
    case, grown or shrunk to the picture's size, and less closely the fewer cases a finding has:
    n of them leave their mean uncertain by a variance of 1/n. Relative to knowing nothing.
    """
    size = np.nan_to_num(np.abs(picture)).max(initial=0.0)
    sizes = np.nan_to_num(np.abs(learned.pictures)).max(axis=1, initial=0.0, keepdims=True)
    growth = np.clip(size / np.maximum(sizes, 1.0), 1 / _GROWTH, _GROWTH)
    error = np.tanh(learned.pictures * growth / diagnose.SATURATION_SIGMAS)
    error -= np.tanh(picture / diagnose.SATURATION_SIGMAS)
    cases = np.array([learned.findings.count(f) for f in learned.findings])
    wider = np.sqrt(1 + 1 / cases)[:, None]
    fit = diagnose.likeness(0.0) / wider * np.exp(-0.5 * (error / wider / diagnose.TOLERANCE) ** 2)
    ratio = np.log(_SURPRISE / diagnose.ANYTHING + (1 - _SURPRISE) * fit)
    common = np.isfinite(ratio)
    closeness = np.where(common, ratio, 0.0).sum(axis=1)
    same = np.array([checks == failing for checks in learned.checks], dtype=np.bool_)
    exact = common.sum(axis=1) * np.log(diagnose.likeness(0.0) / wider[:, 0])
    alike = same & (closeness >= _ALIKE * exact)
    agreed = diagnose.CHECK_WEIGHT if failing else 0.0
    return closeness + np.where(same, agreed, -diagnose.CHECK_WEIGHT), alike


def _evidence(machine: MachineType, code: str, alike: int, cases: int, trust: float) -> list[str]:
    """Return sentences on what earlier cases say about one finding, for people."""
    fault = machine.fault(code)
    if code == UNKNOWN:
        what = "something that the fault table does not have"
    elif code == Finding.NO_FAULT_FOUND:
        what = "no fault: this may be a false alarm"
    else:
        what = fault.title if fault else code
    lines = []
    if alike:
        noun = "case" if alike == 1 else "cases"
        lines.append(f"{alike} earlier {noun} with deviations like these turned out to be {what}.")
    if cases > alike:
        lines.append(f"{cases - alike} earlier with this finding had other deviations.")
    if trust < 0.5:
        lines.append("Earlier cases did not look as the fault table says, so it counts less.")
    return lines
