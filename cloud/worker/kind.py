"""Machines of one type, judged together."""

import numpy as np
from numpy.typing import NDArray

from contract.machines import MachineType
from models.settings import Settings
from models.watchers import Watchers


class Kind:
    """All machines of one type in this worker."""

    def __init__(
        self, machine: MachineType, members: NDArray[np.int64], settings: Settings
    ) -> None:
        self.machine, self.members, self._settings = machine, members, settings
        self.watchers = Watchers(machine, len(members), settings)
        self._past: Watchers | None = None

    @property
    def past(self) -> Watchers:
        """Detectors as they were before an outage, to score what it held back; made when needed."""
        if self._past is None:
            self._past = Watchers(self.machine, len(self.members), self._settings)
        return self._past
