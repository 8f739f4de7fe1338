"""One simulated machine as the bus sees it: physics, registers and bootloader together.

What is written acts at the next step, so that a device still answers the request that restarts it.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from contract import firmware
from contract.firmware import UpdateState
from contract.machines import CommandKind, MachineType, Register, RegisterKind, RegisterType, Role
from firmware_sim import bootloader, registers, slots
from firmware_sim.bootloader import Trust
from firmware_sim.physics.machine import Machine

log = logging.getLogger(__name__)

Words = dict[int, int]
_READ_ONLY = (firmware.BLOCK_STATE, firmware.BLOCK_HARDWARE)


class Unit:
    """A device on a bus: read its tables, write to it, step it."""

    def __init__(self, kind: MachineType, machine: Machine, trust: Trust, folder: Path) -> None:
        self.machine = machine
        self._kind = kind
        self._trust = trust
        self._file = folder / f"{machine.device}.json"
        self._loader = bootloader.boot(slots.load(self._file, kind.name), machine.now_ns)
        self._save()
        self._run_image()
        self._block = [0] * firmware.BLOCK_WORDS
        self._echo: dict[RegisterKind, Words] = {}
        self._waiting: list[Callable[[], None]] = []
        self._shown: dict[RegisterKind, list[tuple[str, Register]]] = {k: [] for k in RegisterKind}
        self._settings: dict[int, tuple[str, Register]] = {}
        for signal in kind.signals:
            if signal.modbus is not None:
                self._shown[signal.modbus.register].append((signal.name, signal.modbus))
                if signal.role is Role.INFO and signal.modbus.register is RegisterKind.HOLDING:
                    self._settings[signal.modbus.address] = (signal.name, signal.modbus)
        self._pulses = {
            (c.modbus.register, c.modbus.address): (c.name, c.value)
            for c in kind.commands
            if c.kind is CommandKind.PULSE and c.modbus is not None
        }
        self._limits = {
            c.modbus.address: (c.argument.minimum, c.argument.maximum)
            for c in kind.commands
            if c.modbus is not None and c.argument is not None
        }

    @property
    def answers(self) -> bool:
        """Whether the device answers on its bus."""
        return self.machine.answers

    def step(self, dt_s: float, time_ns: int) -> None:
        """Let what was written act, then go on by ``dt_s``."""
        waiting, self._waiting = self._waiting, []
        self._echo.clear()
        for act in waiting:
            act()
        booting = self.machine.booting
        self.machine.step(dt_s, time_ns)
        if booting and not self.machine.booting:
            self._booted(time_ns)
        elif bootloader.trial_expired(self._loader, time_ns) and not self.machine.booting:
            log.info("%s: trial not confirmed in time, falls back", self.machine.device)
            self._reboot()

    def read(self, table: RegisterKind) -> Words:
        """Return one table: address to word, or to 0 and 1 in tables of bits."""
        words: Words = {}
        for name, register in self._shown[table]:
            value = self.machine.values.get(name, 0.0)
            if register.type is RegisterType.BIT:
                words[register.address] = int(bool(value))
                continue
            for i, word in enumerate(registers.encode(value, register)):
                words[register.address + i] = word
        words.update({address: 0 for kind, address in self._pulses if kind is table})
        if table is RegisterKind.HOLDING and self._kind.firmware_block is not None:
            start = self._kind.firmware_block
            words.update({start + i: word for i, word in enumerate(self._block)})
            words[start + firmware.BLOCK_STATE] = int(self._loader.state)
            words[start + firmware.BLOCK_HARDWARE] = self._trust.hardware
        words.update(self._echo.get(table, {}))
        return words

    def write(self, table: RegisterKind, address: int, values: Sequence[int]) -> None:
        """Take what a request writes, all of it or nothing.

        Raises:
            KeyError: an address that cannot be written.
            ValueError: a value that the device does not take.
        """
        acts = [self._act(table, address + i, int(value)) for i, value in enumerate(values)]
        echo = self._echo.setdefault(table, {})
        for i, (value, act) in enumerate(zip(values, acts, strict=True)):
            echo[address + i] = int(value)
            if act is not None:
                self._waiting.append(act)
        self._write_block(table, address, values)

    def _act(self, table: RegisterKind, address: int, value: int) -> Callable[[], None] | None:
        if (table, address) in self._pulses:
            command, expected = self._pulses[table, address]
            if value not in (0, expected):
                raise ValueError(f"register {address} takes {expected}")
            return (lambda: self._pulse(command)) if value else None
        if table is RegisterKind.HOLDING and address in self._settings:
            name, register = self._settings[address]
            setting = registers.decode_word(value, register)
            low, high = self._limits.get(address, (0.0, 3.0))
            if not low <= setting <= high:
                raise ValueError(f"{name} takes {low:g} to {high:g}")
            return lambda: self.machine.write(name, setting)
        if self._in_block(table, address):
            return None
        raise KeyError(address)

    def _in_block(self, table: RegisterKind, address: int) -> bool:
        start = self._kind.firmware_block
        if table is not RegisterKind.HOLDING or start is None:
            return False
        return 0 <= address - start < firmware.BLOCK_WORDS and address - start not in _READ_ONLY

    def _write_block(self, table: RegisterKind, address: int, values: Sequence[int]) -> None:
        """Store words in the update block; an order among them is carried out last."""
        ordered = False
        for i, value in enumerate(values):
            if self._in_block(table, address + i):
                offset = address + i - (self._kind.firmware_block or 0)
                self._block[offset] = int(value)
                ordered = ordered or offset == firmware.BLOCK_CONTROL
        if ordered:
            self._order()

    def _order(self) -> None:
        before = self._loader
        self._loader = bootloader.order(before, self._block, self._trust, self.machine.now_ns)
        if self._loader == before:
            return
        if self._loader.state is UpdateState.REJECTED:
            log.info("%s: rejected: %s", self.machine.device, self._loader.reason)
        if self._loader.state is not UpdateState.RECEIVING:
            self._save()
        if self._loader.boot_other or self._loader.reverting:
            self._waiting.append(self._reboot)
        if self._loader.state is UpdateState.CONFIRMED:
            self._waiting.append(self.machine.confirm_firmware)

    def _pulse(self, command: str) -> None:
        if command == "restart":
            self._reboot()
        else:
            self.machine.pulse(command)

    def _reboot(self) -> None:
        self.machine.pulse("restart")

    def _booted(self, time_ns: int) -> None:
        self._loader = bootloader.boot(self._loader, time_ns)
        self._save()
        self._run_image()

    def _run_image(self) -> None:
        image = bootloader.running(self._loader)
        self.machine.firmware = image.version
        self.machine.defects = image.defects_with(self._trust.hardware)

    def _save(self) -> None:
        slots.save(self._file, self._loader)
