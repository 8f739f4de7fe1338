"""Does a release harm machines? Evidence that may be looked at as often as anybody likes.

Every updated machine gives one p-value: how far up its change ranks among the changes of machines
without the release, over the same span of time. Where the release does nothing and chance decided
which machine comes when, p-values of machines are uniform (or larger).

A bet says that a share ``s`` of the machines is harmed, and that those are among the worst ``w``:
it pays ``1 - s + s / w`` for a p-value of at most ``w``, else ``1 - s``. With uniform p-values that
is 1 in the mean, so the product over machines is a test martingale: by Ville's inequality it ever
reaches ``1 / a`` with at most the chance ``a``. Nobody knows how many machines a bad release harms
and how plainly, so all of a grid of bets are made at once, with equal stakes: their mean is a
martingale, too, and loses little on the best of them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARES = np.array([0.03, 0.1, 0.3, 0.6, 0.9])[:, np.newaxis]
"""Of machines harmed."""
WORST = np.array([0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3])
"""Harmed ones are among so many."""
_WON, _LOST = np.log(1 - SHARES + SHARES / WORST), np.log(1 - SHARES)


def log_evidence(p_values: Sequence[float]) -> float:
    """Return ln of what all the p-values pay together, each bet kept through all of them.

    It is more than the sum of what each pays alone: what earlier machines showed decides how much
    is bet on the next, so a release that harms few machines of many is found, too.

    Args:
        p_values: one per machine, in any order; each above 0, at most 1.
    """
    won = (np.array(p_values)[:, np.newaxis] <= WORST).sum(axis=0)
    logs = won * _WON + (len(p_values) - won) * _LOST
    return float(np.logaddexp.reduce(logs, axis=None)) - math.log(logs.size)


def p_values(own: Array, controls: Array, earlier: Array) -> list[float]:
    """Return one p-value per measure: small where the machine's change is worse than others'.

    Machines of one stage share their controls, so the ranks of two of them are not independent.
    Ranked also among those ranked before it, every machine's rank is, as if each came alone: that
    is what makes products of bets on them honest. Ties count against harm.

    Args:
        own: (measures,) changes of the machine, larger is worse; infinite: as bad as can be. NaN:
            cannot be judged, which gives 1.
        controls: (measures, machines) changes of machines without the release over the same span;
            NaN is left out.
        earlier: (measures, machines) changes of machines of the same stage that were ranked before.
    """
    others = np.concatenate([controls, earlier], axis=1)
    as_bad = (others >= own[:, np.newaxis]).sum(axis=1)
    known = (~np.isnan(others)).sum(axis=1)
    p = np.where(np.isnan(own), 1.0, (1 + as_bad) / (1 + known))
    return [float(value) for value in p]
