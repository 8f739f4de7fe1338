"""Commands that people send by hand, to machines that no case is about."""

from collections.abc import Callable

from cloud.adapters.rollout_store import Line
from cloud.core.evidence import NS
from cloud.core.states import Timing
from cloud.service.parts import Parts
from cloud.web import metrics
from cloud.web.ports import HandOrder
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
        self._sent: dict[str, tuple[HandOrder, Answer | None]] = {}
        """By the command's id."""

    async def send(self, order: HandOrder, by: str, case_id: str) -> None:
        """Send a command; the same order again sends nothing.

        Args:
            order: what to send.
            by: who sends it.
            case_id: the machine's open case; empty: it has none.

        Raises:
            Refused: the machine is in other hands, or takes no such command or argument; or the
                id was another order's.
            Unreachable: the broker did not take it; it was not sent.
        """
        command_id, device = _command_id(order.id), order.device
        if command_id in self._sent:
            if self._sent[command_id][0] != order:
                raise Refused(f"id {order.id} was another order's: give each order its own")
            return
        asset = self._parts.assets.get(device)
        if asset is None:
            raise Refused(f"there is no machine {device!r}")
        spec = checked(self._parts.machines[asset.machine_type], order.name, order.argument)
        if case_id:
            raise Refused(f"case {case_id} of {device} is open: try a remedy there instead")
        if self._updating(device):
            raise Refused(f"{self._updating(device)}: wait until it has ended")
        now_ns = self._parts.clock.now_ns()
        command = Command(
            id=command_id,
            name=order.name,
            argument=order.argument,
            issued_ns=now_ns,
            expires_ns=now_ns + int(self._timing.command_expiry_s * NS),
        )
        value = "" if order.argument is None else f" {order.argument:g}"
        title = f"'{spec.title}'{value}, command {command_id}"
        self._audit(device, by, f"Sends {title}.")
        self._sent = dict([*self._sent.items(), (command_id, (order, None))][-KEPT_MAX:])
        try:
            topic = topics.build(asset.site, device, Channel.COMMAND)
            await self._parts.link.publish(topic, codec.encode(command))
        except Unreachable as error:
            self._sent.pop(command_id, None)
            self._audit(device, by, f"Could not send {title}: {error}")
            raise
        metrics.sent_commands.inc()

    def answer(self, order_id: str) -> Answer | None:
        """Return what came back; None: nothing yet, or nothing is known of such an order."""
        known = self._sent.get(_command_id(order_id))
        return known[1] if known else None

    def answered(self, device: str, answer: Answer) -> bool:
        """Take an answer; false when it is to no command of ours."""
        order, earlier = self._sent.get(answer.id, (None, None))
        if order is None:
            return False
        if earlier is None:
            why = f": {answer.reason}" if answer.reason else ""
            self._sent[answer.id] = (order, answer)
            self._audit(device, device, f"Command {answer.id} is {answer.status.value}{why}.")
        return True

    def _audit(self, device: str, by: str, text: str) -> None:
        now_ns = self._parts.clock.now_ns()
        line = Line(at_ns=now_ns, by=by, what="command", text=text, device=device)
        self._parts.store.updates.save(None, lines=[line])


def _command_id(order_id: str) -> str:
    return f"hand-{order_id}"


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
