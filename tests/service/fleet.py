"""A gateway's firmware side over a real store, repository and live board, without a broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from cloud.adapters.board import Board
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core.asset import AssetRow
from cloud.service.desk import Desk
from cloud.service.firmware import Firmware
from cloud.service.parts import Parts
from contract import codec, machines
from contract.commands import Answer, AnswerStatus, Command
from contract.firmware import Claims, version_number
from contract.topics import Channel, Topic
from farfix import publishing, release_kit
from firmware_sim import images

S = 10**9
BEGIN_NS = 1_795_000_000 * S
PUMP = machines.library()["centrifugal_pump"]
COMPUTER = machines.library()["edge_computer"]
COLUMN = {m.name: [s.name for s in m.signals].index("firmware_version") for m in (PUMP, COMPUTER)}


class Clock:
    """Plant time that tests move."""

    def __init__(self) -> None:
        self.ns = BEGIN_NS

    def now_ns(self) -> int:
        return self.ns


class Cases:
    """What the desk of cases is asked and told."""

    def __init__(self) -> None:
        self.open: dict[str, str] = {}
        self.disagreements: list[tuple[str, str]] = []
        self.answers: list[Answer] = []

    def case_of(self, device: str) -> str:
        return self.open.get(device, "")

    def disagree(self, device: str, detail: str) -> None:
        self.disagreements.append((device, detail))

    def answered(self, topic: Topic, answer: Answer) -> None:
        assert topic.device
        self.answers.append(answer)


class Wire:
    """The link to the broker: keeps what was published."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, Command]] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        self.sent.append((topic.split("/")[4], codec.decode(payload, Command)))


class _Parts:
    """Those of the gateway's parts that firmware needs."""

    def __init__(self, folder: Path, devices: list[str], kit: release_kit.Kit) -> None:
        self.config = Config.model_validate(
            {"data_dir": folder, "release_root": kit.room.first_root}
        )
        self.clock, self.link = Clock(), Wire()
        self.store = Store(f"sqlite:///{folder / 'cases.db'}")
        self.machines = {m.name: m for m in (PUMP, COMPUTER)}
        self.assets = {
            device: AssetRow(
                device=device,
                site="north",
                hardware=1,
                machine_type=(PUMP if device.startswith("pump") else COMPUTER).name,
            )
            for device in devices
        }


class World:
    """Machines that show versions, and the gateway that updates them."""

    def __init__(self, folder: Path, devices: list[str]) -> None:
        self.kit = release_kit.make(folder / "release")
        self._plain = _Parts(folder, devices, self.kit)
        self.clock, self.wire, self.cases = self._plain.clock, self._plain.link, Cases()
        self.board = Board.create(folder / "board", devices, len(PUMP.signals))
        self.versions = dict.fromkeys(devices, "1.0.0")
        self.begin()

    @property
    def parts(self) -> Parts:
        return cast("Parts", self._plain)

    def begin(self) -> None:
        """Start the firmware side, or start it again."""
        self.firmware = Firmware(self.parts, cast("Desk", self.cases), lambda: [self.board])

    def release(self, version: str, machine_type: str = PUMP.name, **claims: object) -> None:
        """Sign a release and publish it."""
        image = images.build(PUMP.name, version)
        made = Claims(machine_type=machine_type, version=version, **claims)  # type: ignore[arg-type]
        release_kit.release(self.kit, made, image)
        release_kit.publish(self.kit)
        repository = self.firmware.releases.repository
        for path in publishing.image_paths(self.kit.room):
            copy = self.kit.folder / "copy"
            copy.write_bytes((self.kit.room.targets / path).read_bytes())
            repository.put_artifact(path, copy)
        texts = publishing.metadata_texts(self.kit.room)
        repository.publish({name: text.encode() for name, text in texts.items()})

    def pass_s(self, seconds: float, step_s: float = 5.0) -> None:
        """Let plant time pass while all machines publish."""
        for _ in range(round(seconds / step_s)):
            self.clock.ns += int(step_s * S)
            self.board.last_ns[:] = self.clock.ns
            self.board.score[:] = 0.3
            for device, version in self.versions.items():
                i = self.board.index[device]
                column = COLUMN[self.parts.assets[device].machine_type]
                self.board.values[i][:] = 1.0
                self.board.values[i][column] = version_number(version) if version else np.nan
            boards = [self.board]
            self.firmware.sight.look(boards, self.clock.ns)
            for comparison in self.firmware.comparisons.values():
                comparison.sample(self.clock.ns, boards)
            self.firmware.rollouts.tick()

    def answer(self, command: Command, device: str, status: AnswerStatus, reason: str = "") -> bool:
        """Answer as the edge agent would."""
        topic = Topic("north", device, Channel.ANSWER)
        reply = Answer(id=command.id, status=status, at_ns=self.clock.ns, reason=reason)
        return self.firmware.sending.answered(topic, reply)


@contextmanager
def world(folder: Path, devices: list[str]) -> Iterator[World]:
    """Make a world and close its store."""
    made = World(folder, devices)
    try:
        made.pass_s(30)
        yield made
    finally:
        made.parts.store.close()
