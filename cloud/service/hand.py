"""Commands that people send by hand, to machines that no case is about."""

import secrets
from collections.abc import Callable

from cloud.adapters.rollout_store import Line
from cloud.core.evidence import NS
from cloud.core.states import Timing
from cloud.service.parts import Parts
from cloud.web import metrics
from contract import codec, topics
from contract.commands import Answer, Command
from contract.errors import Refused, Unreachable
from contract.machines import ABOUT_FIRMWARE, CommandSpec, MachineType
from contract.topics import Channel

KEPT_MAX = 200
"""The latest so many commands are known; answers to older ones are not kept."""


class Hand:
    """Sends a command, keeps what comes back, and writes both into the audit log."""

    def __init__(self, parts: Parts, timing: Timing, updating: Callable[[str], str]) -> None:
        """Say how long a command may act, and which rollout is at work on a device."""
        self._parts, self._timing, self._updating = parts, timing, updating
        self._sent: dict[str, Answer | None] = {}

    async def send(
        self, device: str, name: str, argument: float | None, by: str, case_id: str
    ) -> str:
        """Send a command and return its id.

        Args:
            device: the machine.
            name: of the command, in its machine type.
            argument: in the unit of the machine type; None where it takes none.
            by: who sends it.
            case_id: the machine's open case; empty: it has none.

        Raises:
            Refused: the machine is in other hands, or takes no such command or argument.
            Unreachable: the broker did not take it; it was not sent.
        """
        asset = self._parts.assets.get(device)
        if asset is None:
            raise Refused(f"there is no machine {device!r}")
        spec = checked(self._parts.machines[asset.machine_type], name, argument)
        if case_id:
            raise Refused(f"case {case_id} of {device} is open: try a remedy there instead")
        if self._updating(device):
            raise Refused(f"{self._updating(device)}: wait until it has ended")
        now_ns = self._parts.clock.now_ns()
        command = Command(
            id=f"hand-{secrets.token_hex(8)}",
            name=name,
            argument=argument,
            issued_ns=now_ns,
            expires_ns=now_ns + int(self._timing.command_expiry_s * NS),
        )
        value = "" if argument is None else f" {argument:g}"
        title = f"'{spec.title}'{value}, command {command.id}"
        self._audit(device, by, f"Sends {title}.")
        self._sent = dict([*self._sent.items(), (command.id, None)][-KEPT_MAX:])
        try:
            topic = topics.build(asset.site, device, Channel.COMMAND)
            await self._parts.link.publish(topic, codec.encode(command))
        except Unreachable as error:
            self._audit(device, by, f"Could not send {title}: {error}")
            raise
        metrics.sent_commands.inc()
        return command.id

    def answer(self, command_id: str) -> Answer | None:
        """Return what came back; None: nothing yet, or nothing is known of such a command."""
        return self._sent.get(command_id)

    def answered(self, device: str, answer: Answer) -> bool:
        """Take an answer; false when it is to no command of ours."""
        if answer.id not in self._sent:
            return False
        if self._sent[answer.id] is None:
            why = f": {answer.reason}" if answer.reason else ""
            self._sent[answer.id] = answer
            self._audit(device, device, f"Command {answer.id} is {answer.status.value}{why}.")
        return True

    def _audit(self, device: str, by: str, text: str) -> None:
        now_ns = self._parts.clock.now_ns()
        line = Line(at_ns=now_ns, by=by, what="command", text=text, device=device)
        self._parts.store.updates.save(None, lines=[line])


def checked(machine: MachineType, name: str, argument: float | None) -> CommandSpec:
    """Return a command that may be sent by hand.

    Raises:
        Refused: the machine type takes no such command or argument.
    """
    spec = machine.command(name)
    if spec is None:
        known = ", ".join(c.name for c in machine.commands) or "none"
        raise Refused(f"{machine.name} takes no command {name!r}; it takes: {known}")
    if spec.kind in ABOUT_FIRMWARE:
        raise Refused(f"{name} changes the firmware: start a rollout for that")
    bounds = spec.argument
    if bounds is None and argument is not None:
        raise Refused(f"{name} takes no argument")
    if bounds is not None:
        allowed = f"{bounds.minimum:g} to {bounds.maximum:g} {bounds.unit}".strip()
        if argument is None or not bounds.minimum <= argument <= bounds.maximum:
            raise Refused(f"{name} takes {allowed}, not {argument}")
    return spec
