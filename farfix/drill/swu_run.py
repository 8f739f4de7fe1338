"""One run: a fresh computer, one rollout to it, one fault, and what came of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from cloud.adapters.clock import PlantClock
from cloud.core.rollout_policy import Gate, Limits, Order, Policy, Ramp, Selection, Stage
from cloud.core.rollout_states import UpdatePhase
from contract.errors import Refused, Unreachable
from farfix.drill import swu_stage
from farfix.drill.swu_api import Api, Update
from farfix.drill.swu_computer import Boot, Computer, Confirm, Restart, Setup
from farfix.drill.swu_judge import OLD_ENDS, Outcome, Payload
from farfix.drill.swu_plan import Fault, Run
from farfix.drill.swu_proxy import Proxy, Strike, Wire

LOOK_S = 0.2
READY_S = 60.0
"""From a computer's first telemetry to its version in the gateway."""
END_S = 180.0
READBACK_S = 8.0
"""The gateway's patience with a restart; so long it doubts that a machine stays as it was."""
SETTLE_S = 3.0
"""After the end: the computer may be restarting, and its telemetry takes a moment."""
POWER_CYCLE_S = 0.1
HOLD_KILL_S = 10.0
NEWEST_REFUSED = "9.0.0"
INSTALL_S = {Fault.SAYS_NOTHING: 20.0, Fault.WRONG_TOKEN: 5.0}
"""Where the gateway's patience must come to an end; elsewhere it must not."""
RESTARTS = {
    Fault.RESTART: Restart(Boot.OTHER, Confirm.NOTHING),
    Fault.FALLS_BACK: Restart(Boot.OTHER, Confirm.FAILURE, back=True),
    Fault.SAYS_FAILURE: Restart(Boot.OTHER, Confirm.FAILURE),
    Fault.SAYS_SUCCESS: Restart(Boot.OTHER, Confirm.SUCCESS, back=True),
    Fault.SAYS_NOTHING: Restart(Boot.OTHER, Confirm.NEVER),
}
"""What the computer does after its first installation, where it is not what it should."""
FIRED = {
    Fault.CUT: "cut",
    Fault.UNAVAILABLE: "refused",
    Fault.KILL: "killed",
    Fault.RESTART: "restarted",
    Fault.WRONG_SIGNER: "bytes",
    Fault.WRONG_HASH: "forged",
    Fault.DOWNGRADE: "bytes",
    Fault.CANCEL_EARLY: "cancels",
    Fault.CANCEL_LATE: "struck",
    Fault.WRONG_TOKEN: "denied",
    Fault.FALLS_BACK: "restarted",
    Fault.SAYS_FAILURE: "restarted",
    Fault.SAYS_SUCCESS: "restarted",
    Fault.SAYS_NOTHING: "restarted",
    Fault.STOPPED: "stopped",
}
"""By which count a fault shows that it happened."""


class Stand(Struct, frozen=True):
    """What all runs share."""

    stage: swu_stage.Stage
    api: Api
    proxy: Proxy
    folder: Path
    """Of the computers."""
    certificate: Path
    computers: dict[str, Computer]
    """Those that take part now: their telemetry is sent."""
    sending: asyncio.Task[None]
    """Sends it."""


class Scene(Struct, frozen=True):
    """One run's parts."""

    run: Run
    api: Api
    wire: Wire
    computer: Computer
    counts: Counter[str]

    async def begin(self, phase: UpdatePhase | None = None) -> int:
        """Begin the rollout; wait until the machine's update is in a phase."""
        number = await self._begin()
        if phase is not None:
            await until(lambda: self._is_in(number, phase), f"phase {phase}", END_S)
        return number

    async def _begin(self) -> int:
        """The version may be on the machine's page a moment before rollouts know it."""
        deadline_s = time.monotonic() + READY_S
        while True:
            try:
                return await self.api.begin(order(self.run))
            except Refused:
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(LOOK_S)

    async def _is_in(self, number: int, phase: UpdatePhase) -> bool:
        return (await self.api.update(number)).phase is phase


def version(run: Run) -> str:
    """Return what is to be installed."""
    strange = run.fault is Fault.WRONG_SIGNER
    return swu_stage.strange(run.release) if strange else swu_stage.good(run.release)


def order(run: Run) -> Order:
    """Return the rollout: to one machine, impatient, judged by what is plainly said and read."""
    return Order(
        machine_type=swu_stage.MACHINE_TYPE,
        version=version(run),
        selection=Selection(devices=[run.device]),
        policy=Policy(
            stages=[Stage(count=1, soak_s=60.0 if run.fault is Fault.STOPPED else 2.0)],
            ramp=Ramp(base_per_minute=600.0, max_per_minute=600.0),
            limits=Limits(
                attempts_max=1,
                offer_s=10.0 if run.fault is Fault.WRONG_TOKEN else 60.0,
                install_s=INSTALL_S.get(run.fault, 90.0),
                readback_s=READBACK_S,
            ),
            gate=Gate(looks=[1.0], settle_s=0.0, baseline_s=60.0, controls_min=100_000),
        ),
        title=f"{run.number}: {run.fault}",
    )


async def perform(run: Run, stand: Stand) -> Outcome:
    """Play one run.

    Raises:
        Unreachable: the gateway or swupdate does not do what every client and server must.
        Refused: the gateway refuses what it should take.
    """
    began_s = time.monotonic()
    wire = stand.proxy.wires[run.device] = Wire()
    token = await stand.api.issue_token(run.device)
    computer = Computer(_setup(run, stand, token), _payload(stand, swu_stage.FACTORY))
    computer.boot_delay_s = run.boot_delay_s
    scene = Scene(run, stand.api, wire, computer, Counter())
    stand.computers[run.device] = computer
    living = asyncio.create_task(computer.live())
    try:
        await until(lambda: _known(scene), f"the version of {run.device}", READY_S)
        number = await SCRIPTS.get(run.fault, _plain)(scene, stand)
        await until(lambda: _ended(scene, number, living), f"the end of run {run.number}", END_S)
        await until(lambda: _believed(scene, number), f"belief in run {run.number}", END_S)
        await until(lambda: _quiet(computer), f"the restart of {run.device}", END_S)
        await asyncio.sleep(SETTLE_S)
        return await _outcome(scene, stand, number, time.monotonic() - began_s)
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await computer.stop()
        del stand.computers[run.device]


async def until(holds: Callable[[], Awaitable[bool]], what: str, timeout_s: float) -> None:
    """Wait until something holds.

    Raises:
        Unreachable: it did not happen in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not await holds():
        if time.monotonic() > deadline_s:
            raise Unreachable(f"{what} did not come within {timeout_s:g} s")
        await asyncio.sleep(LOOK_S)


def _setup(run: Run, stand: Stand, token: str) -> Setup:
    return Setup(
        device=run.device,
        folder=stand.folder / run.device,
        url=stand.stage.proxy_url,
        token="no-such-token" if run.fault is Fault.WRONG_TOKEN else token,
        certificate=stand.certificate,
        newest_refused=NEWEST_REFUSED if run.fault is Fault.DOWNGRADE else "",
    )


def _payload(stand: Stand, of: str) -> bytes:
    return (stand.stage.bundles[of].file.parent / "payload.bin").read_bytes()


async def _known(scene: Scene) -> bool:
    return (await scene.api.machine(scene.run.device)).firmware == swu_stage.FACTORY


async def _ended(scene: Scene, number: int, living: asyncio.Task[None]) -> bool:
    if living.done():
        living.result()  # it never ends by itself, so this raises what was wrong
    return not (await scene.api.rollout(number)).open


async def _believed(scene: Scene, number: int) -> bool:
    """Tell whether the gateway has looked long enough at a computer that ended as it was."""
    update = await scene.api.update(number)
    looked_s = (PlantClock().now_ns() - update.entered_ns) / 1e9
    return update.phase not in OLD_ENDS or looked_s > READBACK_S


async def _quiet(computer: Computer) -> bool:
    return not computer.busy


# What happens in a run, by its fault. Each returns the rollout's number.


async def _plain(scene: Scene, stand: Stand) -> int:
    run, wire = scene.run, scene.wire
    size = stand.stage.bundles[version(run)].file.stat().st_size
    if run.fault is Fault.CUT:
        wire.strikes = [Strike(int(share * size), cut=True) for share in run.shares]
    wire.wrong_hash = run.fault is Fault.WRONG_HASH
    if run.fault in RESTARTS:
        scene.computer.restarts = [RESTARTS[run.fault]]
    await scene.computer.start()
    number = await scene.begin()
    if run.fault is Fault.UNAVAILABLE:
        wire.refusals = run.times
    return number


async def _wrong_hash(scene: Scene, stand: Stand) -> int:
    """Turn the power off and on after the client's failure: the new payload is there and starts."""
    number = await _plain(scene, stand)
    await until(lambda: _spoken(scene), "the client's word", END_S)
    await asyncio.sleep(POWER_CYCLE_S)
    await scene.computer.power_cycle(Boot.OTHER)
    return number


async def _spoken(scene: Scene) -> bool:
    return bool(scene.wire.word)


async def _kill(scene: Scene, stand: Stand) -> int:
    number = await _strike(scene, stand, HOLD_KILL_S)
    await scene.computer.power_cycle(Boot.SAME)
    scene.counts["killed"] += 1
    return number


async def _cancel_late(scene: Scene, stand: Stand) -> int:
    number = await _strike(scene, stand, scene.run.hold_s)
    await scene.api.decide(number, "cancel")
    return number


async def _strike(scene: Scene, stand: Stand, hold_s: float) -> int:
    """Begin, and return when the download has come to the byte where something happens."""
    size = stand.stage.bundles[version(scene.run)].file.stat().st_size
    scene.wire.strikes = [Strike(int(scene.run.shares[0] * size), cut=False, hold_s=hold_s)]
    await scene.computer.start()
    number = await scene.begin()
    await until(lambda: _struck(scene), f"the download of {scene.run.device}", END_S)
    return number


async def _struck(scene: Scene) -> bool:
    return scene.wire.struck.is_set()


async def _cancel_early(scene: Scene, _: Stand) -> int:
    number = await scene.begin(UpdatePhase.OFFERED)
    await scene.api.decide(number, "cancel")
    await scene.computer.start()
    return number


async def _stopped(scene: Scene, _: Stand) -> int:
    await scene.computer.start()
    number = await scene.begin(UpdatePhase.WATCHING)
    await scene.api.decide(number, "stop")
    scene.counts["stopped"] += 1
    return number


SCRIPTS: dict[Fault, Callable[[Scene, Stand], Awaitable[int]]] = {
    Fault.WRONG_HASH: _wrong_hash,
    Fault.KILL: _kill,
    Fault.CANCEL_EARLY: _cancel_early,
    Fault.CANCEL_LATE: _cancel_late,
    Fault.STOPPED: _stopped,
}


async def _outcome(scene: Scene, stand: Stand, number: int, seconds: float) -> Outcome:
    run, wire, computer = scene.run, scene.wire, scene.computer
    update: Update = await scene.api.update(number)
    machine = await scene.api.machine(run.device)
    known = {bundle.payload_sha256: v for v, bundle in stand.stage.bundles.items()}
    runs = known.get(computer.sha256(computer.slot), "")
    spare = computer.sha256(computer.spare)
    counts = wire.counts + scene.counts
    counts["restarted"] = computer.restarted
    return Outcome(
        number=run.number,
        fault=run.fault,
        payload_bytes=(stand.stage.bundles[version(run)].file.parent / "payload.bin")
        .stat()
        .st_size,
        fired=counts[FIRED[run.fault]] if run.fault in FIRED else 1,
        phase=update.phase,
        detail=update.detail,
        version=machine.firmware,
        case_open=machine.case is not None and machine.case.open,
        payload=_kind(runs, version(run)),
        on_device=runs,
        claimed=wire.claimed or swu_stage.FACTORY,
        spare_damaged=bool(spare) and spare not in known,
        downloaded=counts["bytes"],
        ranges=counts["ranges"],
        seconds=round(seconds, 1),
    )


def _kind(runs: str, new: str) -> Payload:
    if runs == new:
        return Payload.NEW
    return Payload.OLD if runs == swu_stage.FACTORY else Payload.MIXED
