"""Rollouts in memory, for the web's tests: real core structs, moved by what people decide."""

import hashlib
import math
import random
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import asdict, replace

from cloud.core import rollout as rules
from cloud.core import stages
from cloud.core.published import AuditRow, Digests, Kept, RepositoryState
from cloud.core.rollout_states import (
    Approved,
    Canceled,
    Candidate,
    Event,
    Order,
    Outcome,
    Paused,
    Phase,
    Policy,
    Record,
    Report,
    Resumed,
    Rollout,
    Selection,
    Stage,
    Stop,
    StopAsked,
    StopKind,
    Update,
    UpdatePhase,
    Window,
)
from cloud.web.rollout_ports import (
    DeviceRecord,
    Health,
    HealthPoint,
    Preview,
    RolloutAction,
    StagePlan,
)
from contract.errors import Refused
from contract.firmware import Claims, Release
from tests.web.fixture_world import HOSTILE, START_NS, S

DAY = 86400 * S
PUMP = "centrifugal_pump"
HOSTILE_DEVICE = f"pump-{HOSTILE}"


def release(machine_type: str, version: str, **claims: object) -> Release:
    """Return a release as signed metadata would describe it."""
    return Release(
        machine_type=machine_type,
        version=version,
        size_bytes=43_120,
        sha256=hashlib.sha256(f"{machine_type} {version}".encode()).hexdigest(),
        **claims,  # type: ignore[arg-type]  # fields of Claims
    )


def kept(found: Release, barred: str = "") -> Kept:
    return Kept(release=found, digests=Digests("0" * 40, "0" * 32, found.sha256), barred=barred)


class MemoryRollouts:
    """The service's face over dictionaries; every decision is taken to the audit log."""

    def __init__(self) -> None:
        self.releases: list[Kept] = []
        self.state: RepositoryState | None = None
        self.machines: dict[str, list[Candidate]] = {}
        self.found: dict[int, tuple[Rollout, dict[str, Update]]] = {}
        self.healths: dict[int, Health] = {}
        self.records: dict[str, DeviceRecord] = {}
        self.log: list[AuditRow] = []
        self.tokens: dict[str, str] = {}

    def kept(self) -> list[Kept]:
        return self.releases

    def repository(self) -> RepositoryState | None:
        return self.state

    async def put_artifact(self, path: str, file: Path) -> None:
        raise Refused("not here")

    async def publish(self, metadata: Mapping[str, bytes], by: str) -> list[Kept]:
        raise Refused("not here")

    def metadata(self, name: str) -> bytes | None:
        return None

    def artifact(self, name: str) -> Path | None:
        return None

    def candidates(self, machine_type: str) -> list[Candidate]:
        return self.machines.get(machine_type, [])

    def preview(self, order: Order) -> Preview:
        rules.check(order)
        claims = self._claims(order)
        candidates = self.candidates(order.machine_type)
        chosen, excluded = stages.eligible(claims, order.selection, candidates)
        if not chosen:
            raise Refused("no machine is left: look at the selection")
        plan = stages.plan(order.policy, chosen, seed=max(self.found, default=0) + 1)
        return Preview(
            stages=[
                StagePlan(devices=devices, soak_s=stage.soak_s)
                for devices, stage in zip(plan, order.policy.stages, strict=True)
            ],
            excluded=excluded,
            high_risk=claims.high_risk,
            controls=len(candidates) - len(plan[0]),
        )

    def _claims(self, order: Order) -> Claims:
        for one in self.releases:
            r = one.release
            if (r.machine_type, r.version) == (order.machine_type, order.version):
                if one.barred:
                    raise Refused(f"release {order.version} is barred: {one.barred}")
                fields = asdict(r)
                return Claims(**{name: fields[name] for name in Claims.__struct_fields__})
        raise Refused(f"there is no release {order.version} for {order.machine_type!r}")

    async def create(self, order: Order, by: str) -> Rollout:
        return self.begin(order, by, START_NS)

    def begin(self, order: Order, by: str, at_ns: int, **more: str | Phase) -> Rollout:
        """Make a rollout by the real rules."""
        number = max(self.found, default=0) + 1
        made = rules.create(
            number, order, by, self._claims(order), self.candidates(order.machine_type), at_ns,
            **more,  # type: ignore[arg-type]  # phase and what a proposal has
        )  # fmt: skip
        return self._keep(made, {}, at_ns)

    async def decide(self, number: int, action: RolloutAction, by: str, why: str) -> Rollout:
        if number not in self.found:
            raise Refused(f"there is no rollout {number}")
        events: dict[RolloutAction, Event] = {
            "approve": Approved(by=by),
            "pause": Paused(by=by, why=why),
            "resume": Resumed(by=by),
            "cancel": Canceled(by=by, why=why),
            "stop": StopAsked(by=by, why=why),
        }
        before, updates = self.found[number]
        outcome = rules.step(before, updates, events[action], START_NS)
        if outcome == (before, {}, ()):
            raise Refused(f"rollout {number} is {before.phase}: there is nothing to {action}")
        return self._keep(outcome, updates, START_NS)

    def _keep(self, outcome: Outcome, updates: dict[str, Update], at_ns: int) -> Rollout:
        rollout, changed, effects = outcome
        self.found[rollout.number] = (rollout, updates | changed)
        for effect in effects:
            if isinstance(effect, Record):
                self.say(
                    effect.by, effect.what, effect.text, rollout=rollout.number,
                    device=effect.device, at_ns=at_ns,
                )  # fmt: skip
        return rollout

    def all(self) -> list[Rollout]:
        return [self.found[number][0] for number in sorted(self.found, reverse=True)]

    def one(self, number: int) -> tuple[Rollout, list[Update]] | None:
        found = self.found.get(number)
        return (found[0], list(found[1].values())) if found else None

    def health(self, number: int) -> Health | None:
        return self.healths.get(number)

    def audit(
        self, limit: int = 100, before_id: int | None = None, rollout: int = 0, device: str = ""
    ) -> list[AuditRow]:
        fit = [
            row
            for row in reversed(self.log)
            if (before_id is None or row.id < before_id)
            and (not rollout or row.rollout == rollout)
            and (not device or row.device == device)
        ]
        return fit[:limit]

    def device(self, device: str) -> DeviceRecord | None:
        return self.records.get(device)

    async def issue_token(self, device: str, by: str) -> str:
        self.tokens[device] = hashlib.sha256(f"{device} {len(self.log)}".encode()).hexdigest()
        self.records[device] = replace(self.records[device], has_token=True)
        self.say(by, "token issued", "Its DDI token was made anew.", device=device)
        return self.tokens[device]

    async def revoke_token(self, device: str, by: str) -> None:
        self.tokens.pop(device, None)
        self.records[device] = replace(self.records[device], has_token=False)
        self.say(by, "token revoked", "It was cut off.", device=device)

    async def release_from_quarantine(self, device: str, by: str) -> None:
        if not self.records[device].quarantined:
            raise Refused(f"{device} is not in quarantine")
        self.records[device] = replace(self.records[device], quarantined="", failures=0)
        self.say(by, "released", "Let out of quarantine.", device=device)

    # Scenes

    def say(
        self, by: str, what: str, text: str, *, rollout: int = 0, device: str = "",
        at_ns: int = START_NS,
    ) -> None:  # fmt: skip
        """Write a line into the audit log."""
        self.log.append(
            AuditRow(
                id=len(self.log) + 1,
                at_ns=at_ns,
                by=by,
                what=what,
                text=text,
                device=device,
                rollout=rollout,
            )
        )

    def set(self, number: int, device: str, **changes: object) -> None:
        """Change one machine's part."""
        found, updates = self.found[number]
        self.found[number] = (found, updates | {device: replace(updates[device], **changes)})


def build() -> MemoryRollouts:
    """Return releases and rollouts in which something of everything is going on."""
    made = MemoryRollouts()
    _repository(made)
    _fleet(made)
    _finished(made)
    _stopped(made)
    _running(made)
    _asking(made)
    return made


def _repository(made: MemoryRollouts) -> None:
    made.releases = [
        kept(release(PUMP, "1.2.0", hardware=[1, 2], min_version="1.0.0", cures=["firmware_bug"],
                     notes=f"Cures the current regulation. {HOSTILE}")),
        kept(release(PUMP, "1.1.0"), barred="rollout 2 was stopped: updated machines run worse"),
        kept(release(PUMP, "1.0.1")),
        kept(release("air_compressor", "3.0.0", high_risk=True, notes="New valve timing.")),
    ]  # fmt: skip
    now_ns = 1_795_330_800 * S
    made.state = RepositoryState(
        root_version=2, targets_version=5, snapshot_version=9, timestamp_version=31,
        root_expires_ns=now_ns + 400 * DAY, targets_expires_ns=now_ns + 80 * DAY,
        snapshot_expires_ns=now_ns + 12 * DAY, timestamp_expires_ns=now_ns + 12 * DAY,
    )  # fmt: skip


def _fleet(made: MemoryRollouts) -> None:
    made.machines[PUMP] = [
        Candidate(
            device=HOSTILE_DEVICE if i == 9 else f"pump-{i}",
            site=("north", "south", "harbour")[i % 3],
            labels=["critical"] if i % 5 == 0 else [],
            hardware=1 + i // 3 % 3,
            version="1.0.0" if i % 4 else "1.0.1",
            quarantined="3 updates failed one after the other" if i == 7 else "",
        )
        for i in range(1, 161)
    ]
    made.machines["air_compressor"] = [
        Candidate(device=f"compressor-{i}", site="north", labels=[], hardware=1, version="2.4.0")
        for i in range(1, 13)
    ]
    for c in [c for found in made.machines.values() for c in found]:
        made.records[c.device] = DeviceRecord(
            device=c.device, has_token=c.device == "pump-2", attributes={}, hardware=c.hardware,
            quarantined=c.quarantined, failures=3 if c.quarantined else 0, last_poll_ns=None,
        )  # fmt: skip
    made.records["pump-2"] = replace(
        made.records["pump-2"],
        last_poll_ns=START_NS - 12 * S,
        attributes={"hw_revision": "3", "board": HOSTILE, "kernel": "6.12.9"},
    )


def _brought(update: Update, version: str, at_ns: int, phase: UpdatePhase) -> Update:
    return replace(
        update, phase=phase, action=update.number * 100_000 + 1, attempts=1, fetched=True,
        report=Report.SUCCESS, reported_ns=at_ns, version=version, watched_ns=at_ns + 20 * S,
        entered_ns=at_ns + 20 * S,
    )  # fmt: skip


def _finished(made: MemoryRollouts) -> None:
    at_ns = START_NS - 20 * DAY
    order = Order(machine_type=PUMP, version="1.0.1", title="Quieter restart")
    begun = made.begin(order, "J. Doe", at_ns)
    updates = {
        device: _brought(update, "1.0.1", at_ns, UpdatePhase.UPDATED)
        for device, update in made.found[1][1].items()
    }
    made.found[1] = (replace(begun, phase=Phase.FINISHED, stage=4), updates)


def _stopped(made: MemoryRollouts) -> None:
    at_ns = START_NS - 6 * DAY
    order = Order(machine_type=PUMP, version="1.2.0", title="New regulation")
    begun = made.begin(order, "J. Doe", at_ns)
    updates = made.found[2][1]
    for n, (device, update) in enumerate(updates.items()):
        if update.stage == 0:
            back = _brought(update, update.from_version, at_ns, UpdatePhase.REVERTED)
            updates[device] = replace(back, harm="in alarm for 10 min" if n < 2 else "")
        else:
            detail = "the rollout ended before its turn"
            updates[device] = replace(update, phase=UpdatePhase.SKIPPED, detail=detail)
    stop = Stop(
        kind=StopKind.HEALTH,
        detail="Machines with the release are worse than those without.",
        at_ns=at_ns + 4000 * S,
        reached=5,
        harmed=2,
    )
    order = replace(order, version="1.1.0")
    made.found[2] = (replace(begun, order=order, phase=Phase.STOPPED, stop=stop), updates)
    made.say("gateway", "stopped", stop.detail, rollout=2, at_ns=stop.at_ns)


def _running(made: MemoryRollouts) -> None:
    policy = Policy(
        stages=[Stage(count=5), Stage(percent=10), Stage(percent=30), Stage(percent=100)],
        window=Window(start="20:00", hours=12, timezone="Europe/Berlin"),
    )
    order = Order(
        machine_type=PUMP, version="1.2.0", selection=Selection(hardware=[1, 2]), policy=policy,
        title=f"Current regulation {HOSTILE}",
    )  # fmt: skip
    begun_ns = START_NS - 3 * 3600 * S
    begun = made.begin(order, "J. Doe", begun_ns)
    updates = made.found[3][1]
    P = UpdatePhase  # noqa: N806 (short for the table)
    third = [P.WATCHING] * 8 + [P.CHECKING, P.INSTALLING, P.INSTALLING, P.OFFERED, P.FAILED]
    seen = [0, 0, 0, 0]
    for device, update in updates.items():
        n, stage = seen[update.stage], update.stage
        seen[stage] += 1
        at_ns = begun_ns + stage * 3900 * S + n * 15 * S
        looks = [[0.4] * 5] * 3
        if stage < 2:
            updates[device] = replace(_brought(update, "1.2.0", at_ns, P.UPDATED), looks=looks)
        elif stage == 2 and n < len(third):
            moved = _brought(update, "1.2.0", at_ns, third[n])
            if third[n] is not P.WATCHING:
                version = update.version
                moved = replace(moved, watched_ns=0, version=version, report=Report.TAKEN)
            updates[device] = replace(moved, looks=looks[:1] if third[n] is P.WATCHING else [])
    first = [d for d, u in updates.items() if u.stage == 2]
    failed, hostile = first[12], next(d for d, u in updates.items() if u.stage == 1)
    said = f"slot B: write failed at 0x8000 {HOSTILE}"
    updates[failed] = replace(
        updates[failed], report=Report.FAILURE, reported_ns=START_NS - 300 * S, detail=said
    )
    lied = "It said success, but 1.0.0 is read from it: a case is open."
    updates[hostile] = replace(
        updates[hostile], phase=P.UNCLEAR, version="1.0.0", report=Report.SUCCESS, detail=lied
    )
    updates[HOSTILE_DEVICE] = replace(updates.pop(hostile), device=HOSTILE_DEVICE)
    stage_ns = begun_ns + 7800 * S
    begun = replace(begun, stage=2, stage_ns=stage_ns, log_evidence=EVIDENCE)
    made.found[3] = (begun, updates)
    made.healths[3] = health(begun_ns)
    for i, device in enumerate(first[:13]):
        at_ns = begun_ns + (7800 + 15 * i) * S
        said = f"Offered release 1.2.0 (action {300_001 + i})."
        made.say("gateway", "offered", said, rollout=3, device=device, at_ns=at_ns)
    made.say("gateway", "failed", f"slot B: write failed {HOSTILE}", rollout=3, device=failed)
    made.say("gateway", "unclear", lied, rollout=3, device=HOSTILE_DEVICE)


EVIDENCE = [[0.31, -0.4, -0.2, 1.1, -0.6], [-0.5, -0.9, 0.2, 0.6, -0.8], [0.0, -0.2, 0.1, 0.2, 0.0]]
MEASURES = ["score", "motor_current_a", "vibration_mm_s", "bearing_temperature_c", "flow_m3h"]


def health(begun_ns: int) -> Health:
    """Return a comparison in which the release does nothing."""
    noise = random.Random(7)
    points = []
    for i in range(92):
        at_ns = begun_ns + i * 120 * S
        base = 0.3 + 0.05 * math.sin(i / 9)
        updated = None if i < 4 or i == 40 else base + noise.gauss(0.03, 0.02)
        points.append(
            HealthPoint(
                at_ns=at_ns,
                updated=updated,
                control=base + noise.gauss(0, 0.008),
                updated_high=None if updated is None else updated + 0.2 + noise.gauss(0, 0.03),
                control_high=base + 0.22 + noise.gauss(0, 0.01),
            )
        )
    return Health(
        points=points, measures=MEASURES, looks=[0.2, 0.5, 1.0], log_evidence=EVIDENCE,
        log_threshold=math.log(15 / 0.005), controls=112,
    )  # fmt: skip


def _asking(made: MemoryRollouts) -> None:
    order = Order(machine_type="air_compressor", version="3.0.0", title="Valve timing")
    made.begin(order, "J. Doe", START_NS - 1800 * S)
    order = Order(machine_type=PUMP, version="1.2.0", selection=Selection(sites=["harbour"]))
    said = "Case pump-3-1795330100: after release 1.2.0 the firmware defect was gone."
    made.begin(
        order, "gateway", START_NS - 600 * S, phase=Phase.PROPOSED, proposal=said,
        case_id="pump-3-1795330100",
    )  # fmt: skip
