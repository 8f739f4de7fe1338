"""Firmware as a remedy: one machine of a case first, then a proposal to its peers.

A case's remedy is a rollout to one machine: same action, same read-back, same audit. What it says
about the case, the case's own evidence decides.
"""

from collections.abc import Callable

from cloud.core import stages
from cloud.core.published import Kept
from cloud.core.rollout_states import (
    DEFAULT_POLICY,
    ENDED,
    Gate,
    Limits,
    Order,
    Phase,
    Policy,
    Report,
    Rollout,
    Selection,
    Stage,
    Update,
    UpdatePhase,
)
from cloud.service.parts import Parts
from cloud.service.releases import Releases
from cloud.service.rollout_desk import RolloutDesk
from cloud.service.rollouts import Rollouts
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Refused
from contract.topics import Channel, Topic

_STATUS = {
    Report.REFUSED: AnswerStatus.REFUSED,
    Report.UNREACHED: AnswerStatus.UNREACHABLE,
    Report.NOTHING: AnswerStatus.EXPIRED,
}
"""How a remedy that did not act is answered, by the installer's last word."""


class Remedies:
    """Carries the firmware remedies of cases out."""

    def __init__(
        self,
        parts: Parts,
        rollouts: Rollouts,
        releases: Releases,
        desk: RolloutDesk,
        answered: Callable[[Topic, Answer], None],
    ) -> None:
        self._parts, self._rollouts, self._releases = parts, rollouts, releases
        self._desk, self._answered = desk, answered
        rollouts.on_remedy_end = self._ended

    def begin(self, case_id: str, device: str, fault: str, command: Command) -> None:
        """Bring the machine of a case the newest release that fits it. Again changes nothing.

        Raises:
            Refused: there is none; the case has been told.
        """
        if any(r.command_id == command.id for r in self._rollouts.all.values()):
            return
        try:
            self._begin(case_id, device, fault, command)
        except Refused as error:
            self._answer(device, command.id, AnswerStatus.REFUSED, str(error))
            raise

    def _begin(self, case_id: str, device: str, fault: str, command: Command) -> None:
        asset = self._parts.assets[device]
        selection = Selection(devices=[device])
        candidates = [c for c in self._desk.candidates(asset.machine_type) if c.device == device]
        if stale := self._releases.stale():
            raise Refused(stale)
        why = f"there is no firmware release for {asset.machine_type}"
        for kept in self._fitting(asset.machine_type, fault):
            chosen, excluded = stages.eligible(kept.release, selection, candidates)
            if not chosen:
                why = f"{kept.release.version} does not fit: {excluded.get(device, 'unknown')}"
                continue
            patience_s = max((command.expires_ns - self._parts.clock.now_ns()) / 1e9, 1.0)
            order = Order(
                machine_type=asset.machine_type,
                version=kept.release.version,
                selection=selection,
                policy=_one_machine(patience_s),
                title=f"Remedy of case {case_id}",
            )
            self._rollouts.create(
                order, "gateway", self._desk.claims(order), candidates,
                phase=Phase.RUNNING, case_id=case_id, command_id=command.id,
            )  # fmt: skip
            return
        raise Refused(why)

    def propose(self, case_id: str, said: str) -> None:
        """Propose to the peers what has cured a machine. Again changes nothing."""
        cure = next(
            (r for r in self._rollouts.all.values() if r.command_id and r.case_id == case_id), None
        )
        if cure is None:
            return
        machine_type, version = cure.order.machine_type, cure.order.version
        if any(self._reaches(r, machine_type, version) for r in self._rollouts.all.values()):
            return
        order = Order(
            machine_type=machine_type,
            version=version,
            policy=DEFAULT_POLICY,
            title=f"{version} for the peers of {cure.order.selection.devices[0]}",
        )
        candidates = self._desk.candidates(machine_type)
        claims = self._desk.claims(order)
        chosen, _ = stages.eligible(claims, order.selection, candidates)
        if chosen:
            self._rollouts.create(
                order, "gateway", claims, candidates,
                phase=Phase.PROPOSED, case_id=case_id, proposal=said,
            )  # fmt: skip

    @staticmethod
    def _reaches(rollout: Rollout, machine_type: str, version: str) -> bool:
        """Tell whether a rollout brings, or has brought, the release to peers."""
        same = (rollout.order.machine_type, rollout.order.version) == (machine_type, version)
        alive = rollout.phase not in ENDED or rollout.phase is Phase.FINISHED
        return same and not rollout.command_id and alive

    def _fitting(self, machine_type: str, fault: str) -> list[Kept]:
        """Return releases that may cure the fault, newest first."""
        return [
            k
            for k in self._releases.kept()
            if k.release.machine_type == machine_type
            and not k.barred
            and (not k.release.cures or fault in k.release.cures)
        ]

    def _ended(self, rollout: Rollout, update: Update) -> None:
        if update.phase is UpdatePhase.UPDATED:
            status = AnswerStatus.DONE
        elif update.phase is UpdatePhase.FAILED:
            status = _STATUS.get(update.report, AnswerStatus.FAILED)
        else:
            status = AnswerStatus.FAILED
        self._answer(update.device, rollout.command_id, status, update.detail, update.version)

    def _answer(
        self, device: str, command_id: str, status: AnswerStatus, reason: str, version: str = ""
    ) -> None:
        topic = Topic(self._parts.assets[device].site, device, Channel.ANSWER)
        now_ns = self._parts.clock.now_ns()
        answer = Answer(
            id=command_id, status=status, at_ns=now_ns, reason=reason[:1000], firmware=version
        )
        self._answered(topic, answer)


def _one_machine(patience_s: float) -> Policy:
    """One machine, judged by its case: nothing is watched or compared here."""
    return Policy(
        stages=[Stage(count=1, soak_s=0)],
        limits=Limits(attempts_max=1, offer_s=patience_s),
        gate=Gate(),
        revert=False,
    )
