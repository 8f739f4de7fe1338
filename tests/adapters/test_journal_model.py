"""Any order of appends, scores, saves, reads and restarts: the journal against a dictionary."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud.adapters.journal import Checkpoint, Group, Journal
from cloud.adapters.journal_schema import GROUP_OVERHEAD_BYTES
from contract.errors import Refused


def opened(path: Path) -> Journal:
    return Journal(path / "journal.db", max_bytes=3000, max_age_s=86_400)


class Model(RuleBasedStateMachine):
    """The journal against a dictionary, with restarts anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = opened(Path(self.folder.name))
        self.groups: dict[int, Group] = {}
        self.states: dict[str, Checkpoint] = {}
        self.newest = self.fed = 0

    @initialize()
    def start(self) -> None:
        assert self.journal.newest() == 0

    @rule(packets=st.binary(min_size=1, max_size=900))
    def append(self, packets: bytes) -> None:
        used = self.journal.fill(0).bytes
        try:
            number = self.journal.append(packets, 1, self.newest)
        except Refused:
            assert used + len(packets) + GROUP_OVERHEAD_BYTES > 3000
            return
        assert used + len(packets) <= 3000
        assert number == self.newest + 1
        self.groups[number] = Group(number, self.newest, packets, None)
        self.newest = number

    @rule(back=st.integers(0, 4), data=st.binary(max_size=100))
    def note(self, back: int, data: bytes) -> None:
        number = self.newest - back
        if number > 0:
            self.journal.note_scores(number, data)
        if number in self.groups:
            group = self.groups[number]
            self.groups[number] = Group(number, group.received_ns, group.packets, data)

    @rule(device=st.sampled_from("abc"), data=st.binary(), share=st.floats(0, 1))
    def save(self, device: str, data: bytes, share: float) -> None:
        state, to = Checkpoint(device, self.newest, data), int(self.newest * share)
        self.fed = self.newest
        self.journal.save([state], fed=self.fed, positions=(self.newest, data), prune_to=to)
        self.states[device] = state
        self.groups = {number: group for number, group in self.groups.items() if number > to}
        assert self.journal.positions() == (self.newest, data)

    @precondition(lambda self: not self.unsaved_scores())
    @rule()
    def restart(self) -> None:
        used = self.journal.fill(0)
        self.journal.close()
        self.journal = opened(Path(self.folder.name))
        assert self.journal.fill(0) == used, "counted and measured are the same"

    def unsaved_scores(self) -> bool:
        return bool(self.journal._noted)

    @rule(after=st.integers(0, 30), max_bytes=st.integers(0, 2000))
    def read(self, after: int, max_bytes: int) -> None:
        found = self.journal.read(after, max_bytes)
        wanted = [group for number, group in self.groups.items() if number > after]
        assert found == wanted[: len(found)]
        taken = [len(group.packets) + len(group.scores or b"") for group in wanted]
        if len(found) > 1:
            assert sum(taken[: len(found)]) <= max_bytes
        if len(found) < len(wanted):
            assert found
            assert sum(taken[: len(found) + 1]) > max_bytes

    @invariant()
    def holds(self) -> None:
        assert (self.journal.newest(), self.journal.fed()) == (self.newest, self.fed)
        assert self.journal.checkpoints() == self.states

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=25)
