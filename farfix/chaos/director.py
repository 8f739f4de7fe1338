"""Carries out the plan: hits programs, troubles links, mends both, and counts what really fired."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from contract.errors import Refused, Unreachable
from farfix.chaos.plan import Network, Plan, Program, Strike, Trouble
from farfix.chaos.programs import WORKER, Programs, name_of
from farfix.chaos.proxy import HEALTHY, Proxy
from farfix.children import STOP_TIMEOUT_S

GAP_S = 2.0
"""Between the return of one program and the fall of the next, so that something moves."""
RETURN_S = 90.0
"""A program that was started again must work by then."""
AFTER_WORKER_S = 30.0
"""A gateway may end by itself so soon after it lost a worker; its supervisor starts it again."""
AGAIN_MAX = 5
"""So often a trouble that touched nothing is tried again; who is dead cannot be troubled."""
_SHOWS = {Network.LOSSY: "cut", Network.PARTITION: "held", Network.SLOW: "delayed"}
"""Which count of a link proves that it was in trouble."""


class Event(Struct, frozen=True):
    """Something that was done."""

    at_s: float
    """Wall seconds since the drill began."""
    samples: int
    """Taken until then."""
    text: str


class Director:
    """The plan in progress: one strike and one trouble at a time."""

    def __init__(
        self,
        plan: Plan,
        programs: Programs,
        proxy: Proxy,
        works: Callable[[Strike, float], bool],
        tell: Callable[[str], None],
    ) -> None:
        """Take the plan.

        Args:
            plan: what to do.
            programs: whom to do it to.
            proxy: the links.
            works: tells whether what was hit has done its work since a moment of the monotonic
                clock.
            tell: takes a line about each thing that was done.
        """
        self.fired: Counter[str] = Counter()
        self.kills = 0
        self.events: list[Event] = []
        self.problems: list[str] = []
        self._programs, self._proxy, self._works, self._tell = programs, proxy, works, tell
        self._strikes, self._troubles = list(plan.strikes), list(plan.troubles)
        self._strike: Strike | None = None
        self._struck_s, self._undone_s, self._quiet_s = 0.0, 0.0, 0.0
        self._trouble: Trouble | None = None
        self._troubled_s, self._calm_s = 0.0, 0.0
        self._resets: list[float] = []
        self._before: Counter[str] = Counter()
        self._again: Counter[str] = Counter()
        self._worker_hit_s = float("-inf")
        self._started_s = time.monotonic()
        self._samples = 0

    @property
    def done(self) -> bool:
        """Whether everything planned was done and undone."""
        waiting = self._strikes or self._troubles
        return not waiting and self._strike is None and self._trouble is None

    def step(self, samples: int) -> None:
        """Do what is due.

        Args:
            samples: how many were taken since the plan began.

        Raises:
            Unreachable: a program did not come back.
        """
        self._samples = samples
        now_s = time.monotonic()
        if self._strike is None:
            self._next_strike(now_s)
        elif self._undone_s:
            self._await_return(self._strike, now_s)
        else:
            self._mend(self._strike, now_s)
        if self._trouble is None:
            self._next_trouble(now_s)
        else:
            self._go_on(self._trouble, now_s)
        self._supervise(now_s)

    def _next_strike(self, now_s: float) -> None:
        due = self._strikes and self._strikes[0].at_sample <= self._samples
        if not due or now_s < self._quiet_s:
            return
        strike = self._strikes.pop(0)
        try:
            text = self._programs.hit(strike)
        except Refused as error:
            self.problems.append(f"{strike.kind} did not fire: {error}")
            self._programs.resume()
            return
        self._say(text)
        self.fired[strike.kind] += 1
        self.kills += strike.act == "kill"
        if strike.part == WORKER:
            self._worker_hit_s = now_s
        self._strike, self._struck_s, self._undone_s = strike, now_s, 0.0

    def _mend(self, strike: Strike, now_s: float) -> None:
        since_s = now_s - self._struck_s
        if since_s < strike.last_s:
            return
        if self._programs.over(strike) or since_s > STOP_TIMEOUT_S:
            self._programs.undo(strike)
            self._undone_s = time.monotonic()

    def _await_return(self, strike: Strike, now_s: float) -> None:
        if self._works(strike, self._undone_s):
            self._programs.settled(strike)
            self._say(f"{name_of(strike)} works again")
            self._strike, self._quiet_s = None, now_s + GAP_S
        elif now_s - self._undone_s > RETURN_S:
            raise Unreachable(f"{name_of(strike)} did not come back within {RETURN_S:g} s")

    def _next_trouble(self, now_s: float) -> None:
        due = self._troubles and self._troubles[0].at_sample <= self._samples
        if not due or now_s < self._calm_s:
            return
        trouble = self._troubles.pop(0)
        self._before = self._proxy.counts(trouble.link)
        self._proxy.set(trouble.link, trouble.toxics)
        self._say(f"{trouble.network} {trouble.link} for {trouble.last_s:.1f} s")
        self._trouble, self._troubled_s = trouble, now_s
        self._resets = list(trouble.resets_s)

    def _go_on(self, trouble: Trouble, now_s: float) -> None:
        since_s = now_s - self._troubled_s
        while self._resets and self._resets[0] <= since_s:
            self._resets.pop(0)
            self._proxy.reset(trouble.link)
        if since_s < trouble.last_s:
            return
        self._proxy.set(trouble.link, HEALTHY)
        done = self._proxy.counts(trouble.link) - self._before
        shown = done[_SHOWS[trouble.network]]
        self._say(f"{trouble.link} is well again; {_SHOWS[trouble.network]} {shown}")
        self._trouble, self._calm_s = None, now_s + GAP_S
        self.fired[trouble.kind] += shown > 0
        if not shown and self._again[trouble.kind] < AGAIN_MAX:
            self._again[trouble.kind] += 1  # nobody was there to be troubled
            self._troubles.insert(0, trouble)

    def _supervise(self, now_s: float) -> None:
        """Start again whoever ended without being hit, as a service manager does, and note it."""
        down = name_of(self._strike) if self._strike and not self._undone_s else ""
        for name in self._programs.names():
            if self._programs.alive(name) or name == down:
                continue
            lost_worker = name == Program.CLOUD and now_s - self._worker_hit_s < AFTER_WORKER_S
            if not lost_worker:
                self.problems.append(f"{name} ended by itself; see {self._programs.log(name)}")
            self._say(f"{name} ended by itself and is started again")
            self._programs.revive(name)

    def _say(self, text: str) -> None:
        at_s = round(time.monotonic() - self._started_s, 1)
        self.events.append(Event(at_s, self._samples, text))
        self._tell(f"{at_s:6.1f} s  {text}")


def unfired(plan: Plan, fired: Counter[str]) -> Sequence[str]:
    """Return the kinds of fault that were planned and never happened."""
    return [kind for kind in plan.kinds() if not fired[kind]]
