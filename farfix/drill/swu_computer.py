"""A computer that updates itself: two slots, a boot pointer, an unmodified swupdate, telemetry.

swupdate runs without privileges, with a temporary folder of its own (its sockets lie there), and
its files go to the slot that does not run. What a boot loader and an init system would do is here:
wait until swupdate has installed, start from the other slot, check, and tell swupdate how it went.
"""

import asyncio
import hashlib
import os
import random
import shutil
import signal
from enum import IntEnum, StrEnum
from pathlib import Path

from msgspec import Struct

from contract import firmware
from contract.errors import Malformed, Unreachable
from contract.telemetry import TelemetryBatch
from farfix.drill import swu_bundle
from farfix.drill.swu_bundle import BOARD, REVISION, SLOTS

STOP_S = 5.0
BOOT_S = 0.3
LOOK_S = 0.1
TENANT = "DEFAULT"
SIGNALS = ["cpu_temperature_c", "cpu_load_pct", "memory_used_pct", "disk_used_pct"]
LEVELS = (48.0, 12.0, 41.0, 30.0)


class Confirm(IntEnum):
    """What swupdate is told at its start about the installation before (``-c``)."""

    NOTHING = 0
    SUCCESS = 2
    FAILURE = 3
    NEVER = 9
    """swupdate is not started any more."""


class Boot(StrEnum):
    """From which slot a restart starts."""

    SAME = "same"
    OTHER = "other"


class Restart(Struct, frozen=True):
    """What the computer does once swupdate has installed."""

    boot: Boot
    confirm: Confirm
    back: bool = False
    """Before it tells, it finds itself unhealthy and starts from the slot that ran before."""


GOOD = Restart(Boot.OTHER, Confirm.SUCCESS)


class Setup(Struct, frozen=True, kw_only=True):
    """How a computer is set up."""

    device: str
    folder: Path
    url: str
    """Where its DDI server is."""
    token: str
    certificate: Path
    """Whose bundles it installs."""
    newest_refused: str = ""
    """swupdate's ``-N``: it installs nothing older than this."""


class Computer:
    """One computer. Its files are the truth that the drill judges by."""

    def __init__(self, setup: Setup, payload: bytes) -> None:
        self.setup = setup
        self.restarts: list[Restart] = []
        """What it does after the next installations; afterwards what is `GOOD`."""
        self.boot_delay_s = 0.0
        self.boots = 1
        self.restarted = 0
        """Restarts after an installation so far."""
        self.busy = False
        """It has installed something and has not restarted yet."""
        self.on = True
        self._process: asyncio.subprocess.Process | None = None
        self._dice = random.Random(setup.device)  # noqa: S311 - noise
        self._prepare(payload)

    @property
    def folder(self) -> Path:
        """Where everything of it lies."""
        return self.setup.folder

    @property
    def slot(self) -> str:
        """Name of the slot that runs."""
        return (self.folder / "boot").read_text()

    @property
    def spare(self) -> str:
        """Name of the other slot."""
        return next(name for name in SLOTS if name != self.slot)

    @property
    def running(self) -> Path:
        """File of the payload that runs."""
        return self.folder / SLOTS[self.slot]

    def sha256(self, slot: str) -> str:
        """Return the hash of what is in a slot; empty if nothing is."""
        file = self.folder / SLOTS[slot]
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""

    def telemetry(self, now_ns: int) -> TelemetryBatch | None:
        """Measure, and read the version from the slot that runs; None while it is off."""
        if not self.on:
            return None
        try:
            number: float | None = firmware.version_number(swu_bundle.version_in(self.running))
        except (Malformed, ValueError):
            number = None  # what runs is no payload of ours
        noisy: list[float | None] = [level + self._dice.gauss(0, 1) for level in LEVELS]
        return TelemetryBatch(
            signals=[*SIGNALS, "boot_count", "firmware_version"],
            times_ns=[now_ns],
            values=[[*noisy, float(self.boots), number]],
        )

    async def start(self, confirm: Confirm = Confirm.NOTHING) -> None:
        """Start swupdate."""
        command = [*_unprivileged(), _program(), "-f", "swupdate.cfg", "-H", f"{BOARD}:{REVISION}"]
        command += ["-e", f"stable,{self.spare}", "-l", "4"]
        if self.setup.newest_refused:
            command += ["-N", self.setup.newest_refused]
        command += ["-u", f"-c {confirm.value}" if confirm else ""]
        environment = {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                restore_signals=False,  # SIGPIPE stays ignored, as systemd runs it: it may die else
            )

    async def stop(self) -> None:
        """End swupdate."""
        await self._end(signal.SIGTERM)

    async def power_cycle(self, boot: Boot) -> None:
        """Turn the power off and on; nobody tells swupdate anything."""
        self.on = False
        await self._end(signal.SIGKILL)
        if boot is Boot.OTHER:
            (self.folder / "boot").write_text(self.spare)
        await self._boot()
        await self.start()

    async def live(self) -> None:
        """Restart after each installation, until cancelled."""
        done = self.folder / "installed"
        while True:
            await asyncio.sleep(LOOK_S)
            self.check()
            if not done.exists():
                continue
            self.busy = True
            await asyncio.sleep(self.boot_delay_s)
            plan = self.restarts.pop(0) if self.restarts else GOOD
            done.unlink()
            await self._restart(plan)
            self.restarted += 1
            self.busy = False

    def check(self) -> None:
        """Look whether swupdate still runs.

        Raises:
            Unreachable: it ended by itself.
        """
        if self.on and self._process is not None and self._process.returncode is not None:
            said = (self.folder / "log").read_text(errors="replace")[-800:]
            raise Unreachable(
                f"swupdate of {self.setup.device} ended with {self._process.returncode}: {said}"
            )

    async def _restart(self, plan: Restart) -> None:
        self.on = False
        await self.stop()
        before = self.slot
        if plan.boot is Boot.OTHER:
            (self.folder / "boot").write_text(self.spare)
        await self._boot()
        if plan.back:
            self.on = False
            (self.folder / "boot").write_text(before)
            await self._boot()
        if plan.confirm is not Confirm.NEVER:
            await self.start(plan.confirm)

    async def _boot(self) -> None:
        await asyncio.sleep(BOOT_S)
        self.boots += 1
        self.on = True

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for how in (number, signal.SIGKILL):  # its children are in its session
            try:
                os.killpg(process.pid, how)
            except ProcessLookupError:
                return
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                continue

    def _prepare(self, payload: bytes) -> None:
        for part in (
            self.folder,
            self.folder / "tmp",
            *(self.folder / s.parent for s in SLOTS.values()),
        ):
            part.mkdir(mode=0o700)
        (self.folder / "boot").write_text("a")
        (self.folder / SLOTS["a"]).write_bytes(payload)
        (self.folder / "swupdate.cfg").write_text(_config(self.setup))
        if os.getuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")


def _config(setup: Setup) -> str:
    """Return swupdate's configuration. The command after an installation only leaves a mark."""
    return (
        "globals : {\n"
        f'  public-key-file = "{setup.certificate}";\n'
        '  bootloader = "none";\n'
        f'  postupdatecmd = "/usr/bin/touch {setup.folder}/installed";\n'
        "};\n"
        'identify : ( { name = "hw_revision"; value = "1"; } );\n'
        "suricatta : {\n"
        f'  tenant = "{TENANT}"; id = "{setup.device}"; url = "{setup.url}";\n'
        f'  targettoken = "{setup.token}"; polldelay = 1; retry = 5; retrywait = 1;\n'
        "};\n"
    )


def _program() -> str:
    found = shutil.which("swupdate", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if found is None:
        raise Unreachable("swupdate is not installed (Debian: apt install swupdate)")
    return found


def _unprivileged() -> list[str]:
    """Return what runs a program so that it ends with us, and never as root."""
    command = ["setpriv", "--pdeathsig", "TERM", "--no-new-privs"]
    if os.getuid() == 0:
        command += ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return [*command, "--"]
