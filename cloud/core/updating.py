"""One machine's part in a rollout: one pure function, `advance`, driven by one table.

``TABLE`` says what means something in which phase, which rule handles it, and where that may lead.
What is not in the table changes nothing; that is decided in `advance` and nowhere else. Causes are
the passing of time (`Ticked`), a request for the image (`Fetched`), the installer's word (`Report`)
and what the rollout wants of the machine (`Word`).

The rules keep three promises. An action whose verdict is outstanding is never swapped for another:
it is called back first. Every phase with an open action ends by itself when patience ends. An end
stays as it is, with two exceptions: a stop takes updated machines back, and a machine that has just
ended without the release and then is seen to run it is unclear.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from cloud.core import update_proof as proof
from cloud.core import update_rules as rules
from cloud.core.rollout_states import Facts, Fetched, Report, Reported, Ticked, Update, UpdatePhase
from cloud.core.update_moves import Moved, Scene

__all__ = ["TABLE", "Cause", "Moved", "News", "Rule", "Scene", "Word", "advance"]


class Word(StrEnum):
    """What a rollout wants of one of its machines."""

    BEGIN = "begin"
    CALL_BACK = "call back"
    GO_BACK = "go back"
    LEAVE = "leave out"


News = Facts | Reported | Fetched
Cause = type[Ticked] | type[Fetched] | Report | Word
N = TypeVar("N", bound=News)


@dataclass(frozen=True, slots=True)
class Rule:
    """A handler, and the phases besides the present one that it may lead to."""

    handle: Callable[[Scene, Update, News], Moved]
    to: frozenset[UpdatePhase]


def _on(
    cause: Cause,
    kind: type[N],
    handler: Callable[[Scene, Update, N], Moved],
    *to: UpdatePhase,
) -> tuple[Cause, Rule]:
    def handle(scene: Scene, update: Update, news: News) -> Moved:
        if not isinstance(news, kind):
            raise TypeError(f"the table hands a {type(news).__name__} to a rule for {kind}")
        return handler(scene, update, news)

    return cause, Rule(handle, frozenset(to))


def _tick(handler: Callable[[Scene, Update, Facts], Moved], *to: UpdatePhase) -> tuple[Cause, Rule]:
    return _on(Ticked, Facts, handler, *to)


def _word(
    word: Word, handler: Callable[[Scene, Update, Facts], Moved], *to: UpdatePhase
) -> tuple[Cause, Rule]:
    return _on(word, Facts, handler, *to)


def _said(
    report: Report, handler: Callable[[Scene, Update, Reported], Moved], *to: UpdatePhase
) -> tuple[Cause, Rule]:
    return _on(report, Reported, handler, *to)


P, R = UpdatePhase, Report

TABLE: Mapping[UpdatePhase, Mapping[Cause, Rule]] = MappingProxyType(
    {
        P.WAITING: dict(
            [
                _tick(rules.wait, P.SKIPPED, P.FAILED, P.UNCLEAR),
                _word(Word.BEGIN, rules.begin, P.OFFERED, P.SKIPPED, P.FAILED, P.UNCLEAR),
                _word(Word.LEAVE, rules.leave, P.SKIPPED, P.FAILED),
            ]
        ),
        P.OFFERED: dict(
            [
                _tick(rules.expire, P.CANCELLING),
                _on(Fetched, Fetched, rules.fetch, P.INSTALLING),
                _said(R.TAKEN, rules.take, P.INSTALLING),
                _said(R.SUCCESS, rules.conclude, P.CHECKING),
                _said(R.FAILURE, rules.conclude, P.CHECKING),
                _said(R.CANCELED, rules.conclude, P.CHECKING),
                _said(R.REFUSED, rules.refuse, P.FAILED),
                _said(R.UNREACHED, rules.miss, P.WAITING, P.FAILED),
                _word(Word.CALL_BACK, rules.call_back, P.CANCELLING),
            ]
        ),
        P.INSTALLING: dict(
            [
                _tick(rules.expire, P.CANCELLING, P.UNCLEAR),
                _on(Fetched, Fetched, rules.fetch),
                _said(R.TAKEN, rules.take),
                _said(R.SUCCESS, rules.conclude, P.CHECKING),
                _said(R.FAILURE, rules.conclude, P.CHECKING),
                _said(R.CANCELED, rules.conclude, P.CHECKING),
                _said(R.REFUSED, rules.conclude, P.CHECKING),
                _said(R.UNREACHED, rules.conclude, P.CHECKING),
                _word(Word.CALL_BACK, rules.call_back, P.CANCELLING),
            ]
        ),
        P.CANCELLING: dict(
            [
                _tick(rules.called, P.CANCELED, P.FAILED, P.UNCLEAR),
                _on(Fetched, Fetched, rules.fetch),
                _said(R.TAKEN, rules.take),
                _said(R.CANCELED, rules.conclude, P.CHECKING),
                _said(R.REFUSED, rules.call_off, P.CHECKING),
                _said(R.UNREACHED, rules.call_off, P.CHECKING),
                _said(R.SUCCESS, rules.conclude, P.CHECKING),
                _said(R.FAILURE, rules.conclude, P.CHECKING),
                _said(R.CANCEL_REFUSED, rules.resist, P.INSTALLING),
            ]
        ),
        P.CHECKING: dict(
            [
                _tick(
                    proof.check,
                    P.WATCHING,
                    P.UPDATED,
                    P.WAITING,
                    P.FAILED,
                    P.CANCELED,
                    P.REVERTING,
                    P.UNCLEAR,
                ),
            ]
        ),
        P.WATCHING: dict(
            [
                _tick(proof.observe, P.UPDATED, P.REVERTING, P.UNCLEAR),
                _word(Word.GO_BACK, proof.go_back, P.REVERTING, P.UNCLEAR),
            ]
        ),
        P.REVERTING: dict(
            [
                _tick(proof.returning, P.REVERTED, P.UNCLEAR),
                _on(Fetched, Fetched, rules.fetch),
                _said(R.TAKEN, rules.take),
                _said(R.SUCCESS, proof.revert_said),
                _said(R.REFUSED, proof.revert_said),
                _said(R.UNREACHED, proof.revert_said),
                _said(R.FAILURE, proof.revert_failed, P.UNCLEAR),
            ]
        ),
        P.UPDATED: dict([_word(Word.GO_BACK, proof.go_back, P.REVERTING, P.UNCLEAR)]),
        P.FAILED: dict([_tick(proof.doubt, P.UNCLEAR)]),
        P.CANCELED: dict([_tick(proof.doubt, P.UNCLEAR)]),
        P.REVERTED: dict([_tick(proof.doubt, P.UNCLEAR)]),
        P.SKIPPED: {},
        P.UNCLEAR: {},
    }
)
"""All that means something to an update, by phase."""


def advance(scene: Scene, update: Update, cause: Cause, news: News) -> Moved:
    """Return the update after what happened, and what must be done about it.

    An update whose action is ``scene.action`` has used that number up.
    """
    rule = TABLE[update.phase].get(cause)
    if rule is None:
        return update, ()  # late, repeated or out of place: nothing changes
    moved, effects = rule.handle(scene, update, news)
    if moved.phase is not update.phase and moved.phase not in rule.to:
        raise AssertionError(
            f"{cause} led {update.device} from {update.phase} to {moved.phase}, "
            "which the table does not declare"
        )
    return moved, effects
