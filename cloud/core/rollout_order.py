"""What a person orders: does it make sense, and which rollout does it make?"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from cloud.core import stages
from cloud.core.rollout_states import (
    ACTIONS_PER_ROLLOUT,
    MACHINES_MAX,
    ROLLOUTS_MAX,
    Candidate,
    Order,
    Outcome,
    Phase,
    Policy,
    Record,
    Rollout,
    Update,
)
from cloud.core.windows import zone
from cloud.core.wording import span
from contract.errors import Refused
from contract.firmware import Claims

MEMORY_S = 86_400.0
"""So far back machines can be compared."""
REASONS_SHOWN = 5


def check(order: Order) -> None:
    """Check that an order makes sense.

    Raises:
        Refused: says what does not, and how it would.
    """
    try:
        msgspec.convert(msgspec.to_builtins(order), Order)
    except msgspec.ValidationError as error:
        raise Refused(f"the order cannot be: {error}") from error
    if order.policy.window is not None:
        zone(order.policy.window.timezone)
    problems = [*_stage_problems(order.policy), *_other_problems(order.policy)]
    if problems:
        raise Refused("the policy makes no sense: " + "; ".join(problems))


def _stage_problems(policy: Policy) -> Iterator[str]:
    counts, percents = [], []
    for i, stage in enumerate(policy.stages, 1):
        if (stage.count is None) == (stage.percent is None):
            yield f"stage {i} needs either a count or a percentage"
        counts += [stage.count] if stage.count is not None else []
        percents += [stage.percent] if stage.percent is not None else []
        back_s = stage.soak_s + policy.gate.settle_s + policy.gate.baseline_s
        if stage.soak_s and back_s > MEMORY_S:
            yield (
                f"stage {i}: soak, settling and baseline are {span(back_s)} together, and machines "
                f"can be compared over {span(MEMORY_S)}"
            )
    for name, values in (("counts", counts), ("percentages", percents)):
        if any(b <= a for a, b in pairwise(values)):
            yield f"{name} of stages must grow: each says how many have it when the stage ends"


def _other_problems(policy: Policy) -> Iterator[str]:
    looks, limits = policy.gate.looks, policy.limits
    if not looks or any(b <= a for a, b in pairwise(looks)):
        yield "looks must be given and grow"
    if policy.ramp.base_per_minute > policy.ramp.max_per_minute:
        yield "the ramp's base rate is above its highest"
    for name in ("offer_s", "install_s", "readback_s"):
        if not getattr(limits, name):
            yield f"{name} is 0: no machine could keep that"


def create(  # noqa: PLR0917 - the six things that every rollout has
    number: int,
    order: Order,
    author: str,
    claims: Claims,
    candidates: Sequence[Candidate],
    now_ns: int,
    *,
    phase: Phase | None = None,
    case_id: str = "",
    command_id: str = "",
    proposal: str = "",
) -> Outcome:
    """Make a rollout of an order: draw the machines of every stage. Nothing begins yet.

    The number is also the seed by which stages are drawn from the candidates: all machines of the
    type. It runs, or waits for a second person where the risk is high, unless a phase is given.

    Raises:
        Refused: the order makes no sense, or is for no machine; says what to do.
    """
    check(order)
    _check_author(number, order, author, claims)
    chosen, excluded = stages.eligible(claims, order.selection, candidates)
    _check_machines(order, chosen, excluded, alone=bool(command_id))
    updates = _updates(number, order, chosen)
    phase = phase or (Phase.AWAITING_APPROVAL if claims.high_risk else Phase.RUNNING)
    rollout = Rollout(
        number=number,
        order=order,
        phase=phase,
        author=author,
        high_risk=claims.high_risk,
        created_ns=now_ns,
        entered_ns=now_ns,
        stage_ns=now_ns,
        case_id=case_id,
        command_id=command_id,
        proposal=proposal,
    )
    said = (
        f"{author} brings {order.machine_type} {order.version} to {len(updates)} machines; "
        f"it is {phase.value.replace('_', ' ')}."
    )
    return rollout, updates, (Record(author, "created", said),)


def _check_author(number: int, order: Order, author: str, claims: Claims) -> None:
    if not 1 <= number <= ROLLOUTS_MAX:
        raise Refused(f"rollouts have numbers from 1 to {ROLLOUTS_MAX}; {number} is none")
    if not author.strip() or len(author) > 80:
        raise Refused("a person's name has 1 to 80 characters")
    if (claims.machine_type, claims.version) != (order.machine_type, order.version):
        raise Refused(
            f"{order.machine_type} {order.version} is ordered, but the release is "
            f"{claims.machine_type} {claims.version}"
        )


def _check_machines(
    order: Order, chosen: Sequence[Candidate], excluded: dict[str, str], *, alone: bool
) -> None:
    if not chosen:
        shown = [f"{device}: {why}" for device, why in list(excluded.items())[:REASONS_SHOWN]]
        why = "; ".join(shown) or "the selection fits no machine"
        raise Refused(f"no machine is left for {order.version} ({why})")
    if alone and len(chosen) != 1:
        raise Refused(f"the remedy of a case is for one machine, not for {len(chosen)}")
    if len({c.device for c in chosen}) != len(chosen):
        raise Refused("a machine is given twice")
    attempts = order.policy.limits.attempts_max
    # Every try has a number of its own, and so has going back.
    if len(chosen) > MACHINES_MAX or len(chosen) * (attempts + 1) > ACTIONS_PER_ROLLOUT - 1:
        most = min(MACHINES_MAX, (ACTIONS_PER_ROLLOUT - 1) // (attempts + 1))
        raise Refused(
            f"{len(chosen)} machines with {attempts} tries each are too many for one rollout: "
            f"select {most} or fewer"
        )


def _updates(number: int, order: Order, chosen: Sequence[Candidate]) -> dict[str, Update]:
    known = {c.device: c for c in chosen}
    updates: dict[str, Update] = {}
    for stage, devices in enumerate(stages.plan(order.policy, chosen, seed=number)):
        for device in devices:
            candidate = known[device]
            updates[device] = Update(
                number=number,
                device=device,
                site=candidate.site,
                stage=stage,
                turn=len(updates),
                from_version=candidate.version,
                hardware=candidate.hardware,
                version=candidate.version,
            )
    return updates
