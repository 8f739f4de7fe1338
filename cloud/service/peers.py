"""Every machine against its peers, night by night: early warnings, never remedies.

Machines of one type on one site are compared after every plant day (UTC), when its late readings
have had an hour to arrive. What stands out is a notice on the machine's page until a night in
which it does not.
"""

import asyncio
import logging
from collections import Counter

from msgspec import Struct

from cloud.core.evidence import NS
from cloud.service.parts import Parts
from cloud.web.ports import Notice
from cloud.worker.days import DAY_NS, made_from
from contract.errors import Malformed
from contract.machines import MachineType
from models import artefact, peers
from models.peers import PeerTable, Standing
from models.sample import Layout, Vector

log = logging.getLogger(__name__)

GRACE_NS = 3600 * NS
"""A day is compared so long after its end: a spool that had to wait gets its chance."""
PEERS_MAX = 100
"""So many machines are compared at a time: enough to know their spread within 7 %, and the work
grows with the cube of their number (1 s for 100)."""

Group = tuple[str, str]
"""Machine type and site."""


class _Known(Struct):
    """What is known of one group."""

    table: PeerTable
    compared: int
    """The newest day that was compared; -1 before the first."""
    notices: dict[str, list[Notice]]


class Peers:
    """All groups of this gateway."""

    def __init__(self, parts: Parts) -> None:
        self._memory, self._assets = parts.store.memory, parts.assets
        self._machines = parts.machines
        self._layouts = {name: Layout(machine) for name, machine in parts.machines.items()}
        self._sizes = Counter(self._group(device) for device in parts.assets)
        self._known = {group: self._begin(group) for group in sorted(self._sizes)}
        self._dirty: set[Group] = set()

    def _begin(self, group: Group) -> _Known:
        layout = self._layouts[group[0]]
        saved = self._memory.model(_name(group))
        if saved is not None:
            try:
                known = artefact.unpack(saved, _Known, made_from(layout))
            except Malformed as error:
                log.warning("days of %s at %s are recorded anew: %s", *group, error)
            else:
                _leave(known, {d for d in self._assets if self._group(d) == group})
                return known
        return _Known(peers.table(layout), -1, {})

    def _group(self, device: str) -> Group:
        asset = self._assets[device]
        return asset.machine_type, asset.site

    def comparable(self, device: str) -> bool:
        """Tell whether there are peers enough for its days to be worth recording."""
        return self._sizes[self._group(device)] > peers.MIN_PEERS

    def day(self, device: str, number: int, row: tuple[Vector, Vector]) -> None:
        """Take in a machine's day; the same again changes nothing."""
        group = self._group(device)
        peers.keep(self._known[group].table, device, number, row)
        self._dirty.add(group)

    def notices(self, device: str) -> list[Notice]:
        """Return how the machine stands out among its peers."""
        known = self._known.get(self._group(device)) if device in self._assets else None
        return known.notices.get(device, []) if known else []

    async def night(self, now_ns: int) -> None:
        """Compare every group whose day is over, if that was not done yet; in a thread."""
        newest = (now_ns - GRACE_NS) // DAY_NS - 1
        for group, known in self._known.items():
            if known.compared < newest and known.table.devices:
                layout, found = self._layouts[group[0]], list[Standing]()
                for part in _parts_of(known.table):
                    found += await asyncio.to_thread(peers.compare, part, layout, newest)
                self._note(group, found, newest)

    def _note(self, group: Group, found: list[Standing], day: int) -> None:
        known, machine = self._known[group], self._machines[group[0]]
        since = {(d, n.signal): n.since_ns for d, ns in known.notices.items() for n in ns}
        known.notices = {}
        for s in found:
            if s.stands_out:
                since_ns = since.get((s.device, s.signal), (day + 1) * DAY_NS)
                text = f"{_title(machine, s.signal)}: {s.text}."
                notice = Notice(s.signal, text, since_ns)
                known.notices.setdefault(s.device, []).append(notice)
                if since_ns == (day + 1) * DAY_NS:
                    log.info("%s stands out among its peers: %s", s.device, text)
        known.compared = day
        self._dirty.add(group)

    def save(self) -> None:
        """Save what has changed.

        Raises:
            Unreachable: the database does not answer; it is saved the next time.
        """
        if self._dirty:
            self._memory.put_models(
                {
                    _name(g): artefact.pack(self._known[g], made_from(self._layouts[g[0]]))
                    for g in self._dirty
                }
            )
        self._dirty.clear()


def _parts_of(table: PeerTable) -> list[PeerTable]:
    """Return copies of the table's rows, `PEERS_MAX` machines at most in each."""
    count = len(table.devices)
    parts = -(-count // PEERS_MAX)
    return [_rows(table, list(range(i, count, parts))) for i in range(parts)]


def _rows(t: PeerTable, which: list[int]) -> PeerTable:
    devices = [t.devices[i] for i in which]
    return PeerTable(devices, t.day[which], t.values[which], t.conditions[which])


def _leave(known: _Known, devices: set[str]) -> None:
    """Forget machines that are not in the list of assets any more."""
    here = [i for i, device in enumerate(known.table.devices) if device in devices]
    known.table = _rows(known.table, here)
    known.notices = {d: n for d, n in known.notices.items() if d in devices}


def _title(machine: MachineType, name: str) -> str:
    signal = machine.signal(name)
    return signal.title if signal else name


def _name(group: Group) -> str:
    return f"peers/{group[0]}/{group[1]}"
