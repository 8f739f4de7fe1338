"""Whatever happens in whatever order, a case keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from cloud.core import case as life
from cloud.core import evidence, returns, telling, visits
from cloud.core.events import Effect
from cloud.core.limits import Fleet, Limits, Tried
from cloud.core.states import REMOTE, TERMINAL, Case, Mode, Phase, Plan, Proof, Reply
from cloud.core.telling import EventType
from contract.commands import AnswerStatus
from contract.faults import REPORTED
from contract.tickets import ClosingReport, VisitState, VisitUpdate
from tests.core.scenes import HOUR_S, diagnosed, ns, planned, remedy

NAMES = ("restart", "flush", "update", "derate")
BEFORE_SENDING = (Phase.OBSERVING, Phase.AWAITING_APPROVAL, Phase.HOLDING)
UNANSWERED = (Reply.WAITING, Reply.NO_ANSWER)
WAITS_FOR_PEOPLE = (Phase.DISPATCHED, *TERMINAL)
ENDED_WELL = (Phase.RECOVERED, Phase.WITHDRAWN, Phase.CLOSED)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = draw(st.permutations(NAMES))[: draw(st.sampled_from([0, 1, 2, 3, 3, 3]))]
    made = planned(*names, mode=draw(st.sampled_from(Mode)), deadline_s=draw(deadlines))
    steps = [remedy(name, high_risk=name == "update") for name in names]
    return structs.replace(made, steps=steps)


deadlines = st.sampled_from([300, 1200, 4 * HOUR_S, 8 * HOUR_S, 8 * HOUR_S])
faults = st.sampled_from(["cavitation", "clogged", "no_data", REPORTED])
rarely = st.sampled_from([False] * 7 + [True])
FINAL = (EventType.TICKET_WITHDRAWN, EventType.TICKET_CLOSED)
spans = st.one_of(st.integers(0, 90), st.integers(0, 4000))
fleets = st.builds(
    Fleet,
    machines_of_type=st.just(10),
    sick_of_type=st.sampled_from([1, 1, 9]),
    in_flight_at_site=st.sampled_from([0, 0, 3]),
    tried=st.lists(st.builds(Tried, st.sampled_from(NAMES), faults, st.just(ns(0))), max_size=7),
)


class CaseLife(RuleBasedStateMachine):
    """Feeds one case with everything that can happen, in any order and at any time."""

    @initialize(
        plan=plans(),
        fault=faults,
        safety=rarely,
        failed=st.integers(0, 2),
        alert=st.sampled_from(["", "", "a"]),
    )
    def open(self, plan: Plan, fault: str, failed: int, alert: str, *, safety: bool) -> None:
        self.at_s = 0
        self.told: dict[str, list[EventType]] = {}
        self.ended_by_alert = False
        self.words: dict[str, list[VisitState]] = {}
        self.case, effects = life.open_case(
            case_id="c",
            device="pump-1",
            site="north",
            machine_type="pump",
            diagnosis=diagnosed(fault, safety=safety),
            plan=plan,
            now_ns=ns(0),
            alert=alert,
            alert_ns=ns(0),
        )
        self.tell(None, self.case)
        self.effects: list[Effect] = list(effects)
        self.healthy_ns: list[int] = []
        self.sick_ns: list[int] = []
        for _ in range(failed):
            self.press_on()
            self.sick_till_judged()
        if failed:
            self.press_on()

    def feed(self, event: life.Event) -> Case:
        before = self.case
        event = life.decode_event(life.encode_event(event))
        case, effects = life.step(before, event, ns(self.at_s))
        self.case = life.decode_case(life.encode_case(case))
        assert self.case == case
        if before.phase in TERMINAL:
            assert case == before
            assert effects == ()
        if before.phase not in REMOTE:
            assert not any(isinstance(e, life.SendCommand) for e in effects)
        if case.phase is not before.phase:
            assert any(isinstance(e, life.Note) for e in effects), "a silent transition"
            assert any(isinstance(e, life.Announce) for e in effects)
        self.effects += effects
        self.tell(before, case)
        if not effects:
            assert telling.events(before, case) == [], "told without being saved"
        return before

    def tell(self, before: Case | None, after: Case) -> None:
        for event in telling.events(before, after):
            if event.value.startswith("farfix.ticket") and after.visit is not None:
                self.told.setdefault(after.visit.key, []).append(event)

    @rule(span_s=spans, fleet=fleets)
    def tick(self, span_s: int, fleet: Fleet) -> None:
        self.at_s += span_s
        self.feed(life.Tick(fleet))

    @rule(span_s=st.integers(1, 60), healthy=st.booleans())
    def one_evidence(self, span_s: int, *, healthy: bool) -> None:
        self.at_s += span_s
        self.show(self.at_s, healthy=healthy)

    @precondition(lambda self: self.case.attempts)
    @rule(times=st.integers(4, 30))
    def healthy_for_a_while(self, times: int) -> None:
        for _ in range(times):
            self.at_s += 15
            self.show(self.at_s, healthy=True)

    def show(self, at_s: int, *, healthy: bool) -> None:
        (self.healthy_ns if healthy else self.sick_ns).append(ns(at_s))
        self.feed(life.Evidence(ns(at_s), healthy))

    @precondition(
        lambda self: self.case.phase in (Phase.OBSERVING, Phase.AWAITING_APPROVAL, Phase.HOLDING)
    )
    @rule()
    def press_on(self) -> None:
        """The machine stays sick, and a person agrees: leads to the next command, if any."""
        before = len(self.case.attempts)
        for _ in range(20):
            if self.case.phase in BEFORE_SENDING and len(self.case.attempts) == before:
                self.feed(life.Approved("Ada"))
                self.evidence_and_tick(healthy=False)

    @precondition(lambda self: self.case.phase in (Phase.FIXING, Phase.VERIFYING))
    @rule()
    def sick_till_judged(self) -> None:
        """The machine stays sick: leads to the end of the attempt."""
        for _ in range(40):
            if self.case.phase in (Phase.FIXING, Phase.VERIFYING):
                self.old_answers_change_nothing()
                self.evidence_and_tick(healthy=False)

    def evidence_and_tick(self, *, healthy: bool) -> None:
        self.at_s += 30
        self.show(self.at_s, healthy=healthy)
        self.feed(life.Tick())

    @rule(age_s=st.integers(0, 5000), healthy=st.booleans())
    def old_evidence_changes_nothing(self, age_s: int, *, healthy: bool) -> None:
        newest_ns = max(self.case.seen.last_ns, self.case.opened_ns)
        before = self.feed(life.Evidence(newest_ns - age_s * 10**9, healthy))
        assert self.case == before

    @precondition(lambda self: self.case.attempts)
    @rule(status=st.sampled_from(AnswerStatus), span_s=st.integers(0, 700), age_s=spans)
    def answer(self, status: AnswerStatus, span_s: int, age_s: int) -> None:
        self.at_s += span_s
        self.old_answers_change_nothing()
        at_ns = ns(self.at_s - age_s)
        self.feed(life.CommandFinished(self.case.attempt.command_id, status, at_ns))

    @precondition(lambda self: self.case.phase is Phase.FIXING)
    @rule(lag_s=st.integers(0, 100))
    def cure(self, lag_s: int) -> None:
        """The command is done, and the machine soon stays healthy."""
        self.at_s += 1
        self.show(self.at_s, healthy=False)
        self.answer(AnswerStatus.DONE, span_s=1, age_s=0)
        self.at_s += lag_s
        self.healthy_for_a_while(22)

    def old_answers_change_nothing(self) -> None:
        answered = [a for a in self.case.attempts if a.reply not in UNANSWERED]
        for attempt in {a.command_id: a for a in [*self.case.attempts[:-1], *answered]}.values():
            for status in AnswerStatus:
                event = life.CommandFinished(attempt.command_id, status, ns(self.at_s))
                before = self.feed(event)
                assert self.case == before

    @rule(plan=plans(), fault=faults, safety=rarely)
    def diagnose(self, plan: Plan, fault: str, *, safety: bool) -> None:
        before = self.feed(life.Diagnosed(diagnosed(fault, safety=safety), plan))
        if before.attempts:
            assert self.case == before
        assert self.case.plan.escalate_at_ns <= before.plan.escalate_at_ns

    @rule()
    def approve(self) -> None:
        self.feed(life.Approved("Ada"))

    @rule(whole=rarely)
    def reject(self, *, whole: bool) -> None:
        self.feed(life.Rejected("Ada", "no", whole))

    @precondition(lambda self: self.case.phase in BEFORE_SENDING or self.case.attempts)
    @rule(name=st.sampled_from(NAMES))
    def wish(self, name: str) -> None:
        before = self.feed(life.TryAsked("Ada", remedy(name)))
        if before.phase is Phase.FIXING:
            assert self.case == before

    @rule(hours=st.sampled_from([0, 1, 3, 800]))
    def pause(self, hours: int) -> None:
        before = self.feed(life.PauseAsked("Ada", "stocktaking", ns(self.at_s + hours * 3600)))
        if hours in (0, 800):
            assert self.case == before

    @rule()
    def resume(self) -> None:
        before = self.feed(life.ResumeAsked("Ada"))
        assert self.case.plan.escalate_at_ns >= before.plan.escalate_at_ns

    @rule(name=st.sampled_from("abc"), age_s=spans)
    def alert(self, name: str, age_s: int) -> None:
        event = life.Alerted(name, "oil is low", ns(self.at_s - age_s))
        self.feed(event)
        before = self.feed(event)
        assert self.case == before

    @rule(age_s=spans)
    @precondition(lambda self: self.at_s > 2000)
    def alert_ends(self, age_s: int) -> None:
        before = self.feed(life.AlertEnded(ns(self.at_s - age_s)))
        self.ended_by_alert |= before.open and not self.case.open

    @precondition(lambda self: self.case.visit is not None)
    @rule(state=st.sampled_from(VisitState), number=st.integers(0, 9), age_s=spans)
    def dispatch_says(self, state: VisitState, number: int, age_s: int) -> None:
        """A word comes, again, and again after others; none acts twice."""
        word = VisitUpdate(id=str(number), state=state, at_ns=ns(self.at_s - age_s))
        visit = self.case.visit
        assert visit is not None
        if self.case.open and word.id not in visit.seen and not visits.contradicts(visit, word):
            self.words.setdefault(visit.key, []).append(state)
        self.feed(life.VisitUpdated(word))
        before = self.feed(life.VisitUpdated(word))
        assert self.case == before

    @precondition(lambda self: self.case.phase is Phase.DISPATCHED)
    @rule()
    def well_for_long(self) -> None:
        for _ in range(130):
            self.at_s += 15
            self.show(self.at_s, healthy=True)

    @precondition(lambda self: self.case.phase in ENDED_WELL)
    @rule(plan=plans(), span_s=spans, safety=rarely)
    def come_back(self, plan: Plan, span_s: int, *, safety: bool) -> None:
        self.at_s += span_s + 1
        before, found = self.case, diagnosed(self.case.fault, safety=safety)
        old = returns.of([before], "pump-1", found, Limits(), ns(self.at_s))
        if old is None:
            assert before.reopened >= returns.REOPENED_MAX
            return
        shift_ns = ns(self.at_s) - ns(0)
        plan = structs.replace(
            plan,
            due_ns=plan.due_ns + shift_ns,
            escalate_at_ns=plan.escalate_at_ns + shift_ns,
        )
        self.ended_by_alert = False
        self.case, effects = life.reopen(before, found, plan, ns(self.at_s))
        assert life.decode_case(life.encode_case(self.case)) == self.case
        if before.credited:
            assert before.attempt.step.remedy not in [s.remedy for s in self.case.plan.steps]
        self.effects += effects
        self.tell(before, self.case)

    @rule(event=st.sampled_from([life.EscalationAsked("Ada"), life.Dismissed("Ada")]))
    @precondition(lambda self: self.at_s > 3000)
    def decide(self, event: life.Event) -> None:
        self.feed(event)

    @precondition(lambda self: self.at_s > 3000)
    @rule()
    def report(self) -> None:
        self.feed(life.ReportReceived(ClosingReport(finding="other")))

    @invariant()
    def durable_effects_have_keys_of_their_own(self) -> None:
        keys = [e.key for e in self.effects if not isinstance(e, life.Note)]
        assert len(keys) == len(set(keys))

    @invariant()
    def command_ids_are_unique_and_expire(self) -> None:
        sent = [e for e in self.effects if isinstance(e, life.SendCommand)]
        all_lives = [*self.case.earlier, *self.case.attempts]
        assert [e.command_id for e in sent][-len(all_lives) :] == [a.command_id for a in all_lives]
        assert len(sent) == self.case.sent
        assert len({e.command_id for e in sent}) == len(sent)
        for attempt in self.case.attempts:
            judged_ns = attempt.expires_ns + 360 * 10**9  # settling and verifying
            assert attempt.sent_ns < attempt.expires_ns
            assert judged_ns <= self.case.plan.escalate_at_ns

    @invariant()
    def exactly_a_dispatched_case_has_a_ticket(self) -> None:
        case = self.case
        tickets = [e.key for e in self.effects if isinstance(e, life.OpenTicket)]
        assert len(tickets) == len(set(tickets)) == case.tickets
        assert (case.visit is None) == (case.escalation is None)
        if case.phase in (Phase.DISPATCHED, Phase.CLOSED, Phase.WITHDRAWN):
            assert case.visit is not None
        elif case.phase is not Phase.DISMISSED:
            assert case.visit is None

    @invariant()
    def every_ticket_is_told_once_and_ends_once(self) -> None:
        assert len(self.told) == self.case.tickets
        for key, events in self.told.items():
            assert events[0] is EventType.TICKET_OPENED
            assert events.count(EventType.TICKET_OPENED) == 1
            ends = [event for event in events if event in FINAL]
            assert len(ends) <= 1
            if ends:
                assert events[-1] is ends[0]
            current = self.case.visit is not None and self.case.visit.key == key
            over = not current or not self.case.open
            assert bool(ends) or not over, "a ticket without an end"

    @invariant()
    def nobody_is_called_off_who_has_left(self) -> None:
        for key, events in self.told.items():
            if events[-1] is EventType.TICKET_WITHDRAWN:
                assert not set(self.words.get(key, [])) & set(visits.LEFT)

    @invariant()
    def recovery_rests_on_healthy_evidence_for_the_dwell(self) -> None:
        case = self.case
        if case.phase not in (Phase.RECOVERED, Phase.SELF_CLEARED, Phase.WITHDRAWN):
            return
        if self.ended_by_alert or case.fault == REPORTED:
            return
        run = case.proof if case.attempts and case.attempt.proof is Proof.RECOVERED else case.seen
        shown = [at for at in self.healthy_ns if run.since_ns <= at <= run.last_ns]
        assert len(shown) >= case.plan.timing.min_samples
        assert run.last_ns - run.since_ns >= case.plan.timing.dwell_s * 10**9
        if case.phase is Phase.RECOVERED:
            assert case.attempts
        if case.credited:
            executed_ns = case.attempt.executed_ns or 0
            assert run.since_ns > executed_ns + case.attempt.step.settle_s * 10**9
            assert case.attempt.reply is Reply.DONE
            assert any(case.attempt.sent_ns < at < run.since_ns for at in self.sick_ns)

    @invariant()
    def nothing_is_sent_without_leave(self) -> None:
        notes = [e.text for e in self.effects if isinstance(e, life.Note)]
        approved = [text for text in notes if "approved" in text or "tried next" in text]
        if self.case.plan.mode is Mode.SUGGEST:
            steps = {attempt.step.remedy for attempt in self.case.attempts}
            assert len(steps) <= len(approved)

    def teardown(self) -> None:
        """Time alone ends every case, and never well: silence is no recovery."""
        if not hasattr(self, "case"):
            return
        before, timing = self.case, self.case.plan.timing
        run = before.seen if before.phase is Phase.FIXING else before.proof
        proven = evidence.proven(run, timing.dwell_s, timing.min_samples)
        for _ in range(80):
            self.at_s += 600
            self.feed(life.Tick())
        assert self.case.phase in WAITS_FOR_PEOPLE
        if not (before.phase in (Phase.FIXING, Phase.VERIFYING) and proven):
            assert self.case.phase in (before.phase, Phase.DISPATCHED)
        self.exactly_a_dispatched_case_has_a_ticket()


TestCaseLife = CaseLife.TestCase
TestCaseLife.settings = settings(max_examples=120, stateful_step_count=30)
