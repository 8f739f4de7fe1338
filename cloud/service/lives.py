"""The remaining life of every machine, learnt per machine type from the lives that ended.

A machine's age is counted in hours of plant time from its first judged reading, or from the visit
that ended its life before; so an estimate is a date.
"""

import logging

import msgspec
import numpy as np
from msgspec import Struct

from cloud.core import lives as rules
from cloud.core.hours import Ended
from cloud.core.lives import CAP_H, HOUR_NS, End
from cloud.core.playbook import Tier
from cloud.service.parts import Parts
from contract.errors import Malformed
from contract.machines import MachineType, Role
from contract.tickets import Forecast, Label
from models.prognosis import Estimate, Prognosis

log = logging.getLogger(__name__)


class _Kind(Struct):
    """All machines of one type."""

    signals: list[str]
    prognosis: Prognosis
    born_ns: dict[str, int]
    told: dict[str, tuple[int, Estimate | None]]
    """By device: until when it was heard, and what was estimated then."""
    dirty: bool = False


class _Saved(Struct):
    prognosis: bytes
    born_ns: dict[str, int]
    told: dict[str, tuple[int, Estimate | None]]


class Lives:
    """All lives under way, and what is known of those that ended."""

    def __init__(self, parts: Parts, lead_h: dict[Tier, float]) -> None:
        self._memory, self._assets, self._lead_h = parts.store.memory, parts.assets, lead_h
        used = sorted({asset.machine_type for asset in parts.assets.values()})
        self._kinds = {name: self._begin(parts.machines[name]) for name in used}

    def _begin(self, machine: MachineType) -> _Kind:
        signals = [s.name for s in machine.with_role(Role.RESPONSE)]
        data = self._memory.model(_name(machine.name))
        if data is not None:
            try:
                return _read(data, signals)
            except (Malformed, msgspec.DecodeError) as error:
                log.warning("lives of %s are learnt anew: %s", machine.name, error)
        return _Kind(signals, Prognosis(signals, CAP_H), {}, {})

    def hour(self, device: str, ended: Ended) -> None:
        """Take in an hour of a machine; the same again changes nothing."""
        kind = self._kinds[self._assets[device].machine_type]
        if ended.end_ns <= kind.told.get(device, (0, None))[0]:
            return
        born_ns = kind.born_ns.setdefault(device, ended.end_ns - HOUR_NS)
        row = np.array([ended.means.get(name, np.nan) for name in kind.signals])
        age_h = (ended.end_ns - born_ns) / HOUR_NS
        kind.told[device] = ended.end_ns, kind.prognosis.step(device, age_h, row)
        kind.dirty = True

    def ended(self, label: Label, machine: MachineType) -> "Change | None":
        """Return what a confirmed answer changes if it ends its machine's life.

        The change counts only when it is applied, after it was saved.
        """
        kind, end = self._kinds.get(machine.name), rules.end(label, machine)
        if kind is None or end is None or label.device not in kind.born_ns:
            return None
        changed = _read(_written(kind), kind.signals)
        born_ns = changed.born_ns[label.device]
        changed.born_ns[label.device] = label.to_ns
        changed.told[label.device] = label.to_ns, None
        if end is End.FAILED:
            changed.prognosis.failed(label.device, (label.to_ns - born_ns) / HOUR_NS)
        else:
            changed.prognosis.retired(label.device)
        return Change(machine.name, changed, _name(machine.name), _written(changed))

    def apply(self, change: "Change") -> None:
        """Go on from a change that was saved."""
        self._kinds[change.machine_type] = change.kind

    def forecast(self, device: str) -> Forecast | None:
        """Return until when a visit should be booked; None where nothing can be said."""
        asset = self._assets.get(device)
        kind = self._kinds.get(asset.machine_type) if asset else None
        told_ns, estimate = kind.told.get(device, (0, None)) if kind else (0, None)
        if asset is None or estimate is None:
            return None
        return rules.forecast(told_ns, *estimate, self._lead_h[asset.tier])

    def save(self) -> None:
        """Save what has changed.

        Raises:
            Unreachable: the database does not answer; it is saved the next time.
        """
        dirty = {name: kind for name, kind in self._kinds.items() if kind.dirty}
        if dirty:
            self._memory.put_models({_name(name): _written(kind) for name, kind in dirty.items()})
        for kind in dirty.values():
            kind.dirty = False


class Change(Struct, frozen=True):
    """The lives of a machine type after one of them ended, and how they are saved."""

    machine_type: str
    kind: _Kind
    name: str
    data: bytes


def _name(machine_type: str) -> str:
    return f"prognosis/{machine_type}"


def _written(kind: _Kind) -> bytes:
    return msgspec.msgpack.encode(_Saved(kind.prognosis.save(), kind.born_ns, kind.told))


def _read(data: bytes, signals: list[str]) -> _Kind:
    saved = msgspec.msgpack.decode(data, type=_Saved)
    return _Kind(
        signals, Prognosis.load(saved.prognosis, signals, CAP_H), saved.born_ns, saved.told
    )
