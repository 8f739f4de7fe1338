"""Commands about firmware to edge agents, and their answers.

A command follows from an update's saved state and is sent until it is answered: an agent answers
a repeated command again, it does not execute it again.
"""

import asyncio
import time

from cloud.core.rollout_states import Phase, Report, Rollout, Update, UpdatePhase
from cloud.service.parts import Parts
from cloud.service.rollouts import Rollouts
from cloud.service.sight import Sight
from contract import codec, topics
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Unreachable
from contract.firmware import ReleaseRef
from contract.machines import CommandKind
from contract.topics import Channel, Topic

POLL_S = 0.5
AGAIN_S = 30.0
"""Wall time after which an unanswered command is sent again."""
LIFETIME_NS = 6 * 86_400 * 10**9
"""Agents take no command that lives longer than a week; a later one says so for longer."""
PREFIX = "update-"
"""Of the ids of these commands; the action's number follows."""
_KINDS = {
    UpdatePhase.OFFERED: CommandKind.UPDATE_FIRMWARE,
    UpdatePhase.REVERTING: CommandKind.REVERT_FIRMWARE,
}
_REPORTS = {
    AnswerStatus.DONE: Report.SUCCESS,
    AnswerStatus.FAILED: Report.FAILURE,
    AnswerStatus.REFUSED: Report.REFUSED,
    AnswerStatus.EXPIRED: Report.UNREACHED,
    AnswerStatus.UNREACHABLE: Report.UNREACHED,
}


class Sending:
    """Sends what edge agents must do for rollouts."""

    def __init__(self, parts: Parts, rollouts: Rollouts, sight: Sight) -> None:
        self._parts, self._rollouts, self._sight = parts, rollouts, sight
        self._sent_s: dict[int, float] = {}

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            waiting: set[int] = set()
            for rollout, updates in self._rollouts.open():
                for update in list(updates.values()):
                    held = rollout.phase is Phase.PAUSED and update.phase is UpdatePhase.OFFERED
                    if update.phase in _KINDS and not held and not self._ddi(update):
                        waiting.add(update.action)
                        await self._send(rollout, update)
            self._sent_s = {a: s for a, s in self._sent_s.items() if a in waiting}
            await asyncio.sleep(POLL_S)

    def answered(self, topic: Topic, answer: Answer) -> bool:
        """Take an agent's answer; false when it is about something else than an update."""
        text = answer.id.removeprefix(PREFIX)
        if text == answer.id or not text.isdigit():
            return False
        at_ns = self._sight.plant_ns(topic.device, answer.at_ns)
        report = _REPORTS[answer.status]
        self._rollouts.reported(topic.device, int(text), report, answer.reason, at_ns)
        return True

    def _ddi(self, update: Update) -> bool:
        asset = self._parts.assets.get(update.device)
        return asset is None or self._parts.machines[asset.machine_type].ddi

    async def _send(self, rollout: Rollout, update: Update) -> None:
        now_s = time.monotonic()
        if now_s < self._sent_s.get(update.action, -AGAIN_S) + AGAIN_S:
            return
        asset = self._parts.assets[update.device]
        topic = topics.build(asset.site, asset.device, Channel.COMMAND)
        try:
            await self._parts.link.publish(topic, codec.encode(self._command(rollout, update)))
        except Unreachable:
            return  # the broker is away; the next round tries again
        self._sent_s[update.action] = now_s

    def _command(self, rollout: Rollout, update: Update) -> Command:
        asset = self._parts.assets[update.device]
        machine = self._parts.machines[asset.machine_type]
        kind = _KINDS[update.phase]
        name = next(command.name for command in machine.commands if command.kind is kind)
        back = update.phase is UpdatePhase.REVERTING
        return Command(
            id=f"{PREFIX}{update.action}",
            name=name,
            issued_ns=update.entered_ns,
            expires_ns=min(update.deadline_ns, self._parts.clock.now_ns() + LIFETIME_NS),
            release=ReleaseRef(
                machine_type=machine.name,
                version=update.from_version if back else rollout.order.version,
                repository=f"{self._parts.config.base_url}/repository",
            ),
        )
