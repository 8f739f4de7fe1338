"""What the machines of the web's tests show: symptoms, hypotheses and values over time."""

import math
import random

from contract.faults import UNKNOWN, Deviation, Hypothesis
from contract.machines import MachineType, Role, Signal
from models import diagnose


def hypotheses(machine: MachineType, seen: list[Deviation], fault: str) -> list[Hypothesis]:
    """Rank the fault first, another of the table second, and leave a rest to the unknown."""
    other = next(f.code for f in machine.faults if f.code != fault and not f.safety)
    shares = {fault: 0.82, other: 0.11, UNKNOWN: 0.07}
    scores = {code: math.log(share) for code, share in shares.items()}
    return diagnose.hypotheses(machine, seen, [], scores)


def deviations(machine: MachineType, fault: str) -> list[Deviation]:
    """Return what the fault table says that one sees, the weightiest first."""
    spec = machine.fault(fault)
    found = []
    for i, symptom in enumerate(sorted(spec.symptoms if spec else [], key=lambda s: -s.weight)):
        signal = machine.signal(symptom.signal)
        assert signal is not None
        expected = value_of(signal, 0, 0, random.Random(1))
        sign = 1 if symptom.direction == "above" else -1
        value = value_of(signal, 0, sign, random.Random(1))
        found.append(
            Deviation(symptom.signal, symptom.direction, round(18 / (i + 1), 1), value, expected)
        )
    return found


def value_of(signal: Signal, second: float, shift: float, noise: random.Random) -> float:
    low, high = signal.range
    if signal.role is Role.MODE:
        return 2.0 if second % 3000 < 2400 else 3.0
    if signal.role is Role.INFO:
        return float(int(low + (high - low) * 0.0001))
    middle, span = low + (high - low) * 0.45, high - low
    return middle + span * (0.04 * math.sin(second / 900) + noise.gauss(0, 0.008) + shift * 0.25)
