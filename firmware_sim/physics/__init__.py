"""Simulated machines: stepped, seeded, without a clock.

``machine = build("centrifugal_pump", "pump-1", seed=7)``, then ``machine.step(1.0, time_ns)`` and
read ``machine.values``; ``machine.inject("cavitation")`` makes it ill.
"""

from contract.errors import Malformed
from firmware_sim.physics.air_compressor import AirCompressor
from firmware_sim.physics.centrifugal_pump import CentrifugalPump
from firmware_sim.physics.chiller import Chiller
from firmware_sim.physics.machine import Machine

MACHINES: dict[str, type[Machine]] = {
    kind.machine_type: kind for kind in (AirCompressor, CentrifugalPump, Chiller)
}


def build(machine_type: str, device: str, seed: int) -> Machine:
    """Return a healthy machine of the type; device and seed decide its random numbers.

    Raises:
        Malformed: there is no physics for this type.
    """
    kind = MACHINES.get(machine_type)
    if kind is None:
        known = ", ".join(sorted(MACHINES))
        raise Malformed(f"no physics for machine type {machine_type!r}; there is {known}")
    return kind(device, seed)
