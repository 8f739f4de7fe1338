"""The gateway's Prometheus metrics: counted by the service, served at ``/metrics``.

Labels take few values on purpose (phases, outcomes, reasons; never devices or cases), so that the
number of time series does not grow with the fleet.
"""

import math
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from cloud.adapters.board import DELAY_BOUNDS_S, Board

CONTENT_TYPE = CONTENT_TYPE_LATEST

_COUNTED = {
    "accepted": ("farfix_batches_accepted", "Telemetry batches taken into the journal."),
    "repeated": ("farfix_batches_repeated", "Batches received again and dropped."),
    "throttled": (
        "farfix_batches_throttled",
        "Batches turned away because their device floods; it repeats them.",
    ),
    "refused": (
        "farfix_batches_refused",
        "Batches turned away because a journal was full; their senders repeat them.",
    ),
    "scored": ("farfix_readings_scored", "Readings judged by a detector."),
    "late": (
        "farfix_readings_late",
        "Readings that came too late for any detector; they are stored.",
    ),
    "written": ("farfix_series_rows_written", "Rows stored in the time-series store."),
    "rejected": (
        "farfix_series_rows_rejected",
        "Rows that the time-series store refused; they are quarantined.",
    ),
}

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
registry = CollectorRegistry()
ProcessCollector(registry=registry)

refused_messages = Counter(
    "farfix_messages_refused",
    "Messages turned away because the intake queue was full; their senders repeat them.",
    registry=registry,
)
quarantined_messages = Counter(
    "farfix_messages_quarantined",
    "Messages that break the contract, kept with the reason.",
    registry=registry,
)
opened_cases = Counter("farfix_cases_opened", "Cases opened.", registry=registry)
ended_cases = Counter(
    "farfix_cases_ended",
    "Cases that reached an end, by phase: recovered, self_cleared, dismissed, closed.",
    ["outcome"],
    registry=registry,
)
sent_commands = Counter("farfix_commands_sent", "Commands sent to devices.", registry=registry)
command_answers = Counter(
    "farfix_command_answers", "Answers to commands, by status.", ["status"], registry=registry
)
opened_tickets = Counter(
    "farfix_tickets_opened", "Tickets opened, by escalation reason.", ["reason"], registry=registry
)
delivered_tickets = Counter(
    "farfix_tickets_delivered", "Tickets taken over by dispatch.", registry=registry
)
open_cases = Gauge("farfix_cases_open", "Open cases now, by phase.", ["phase"], registry=registry)
machines = Gauge("farfix_machines", "Machines now, by state.", ["state"], registry=registry)
open_rollouts = Gauge(
    "farfix_rollouts_open", "Open rollouts now, by phase.", ["phase"], registry=registry
)
stopped_rollouts = Counter(
    "farfix_rollouts_stopped", "Rollouts that were stopped, by kind.", ["kind"], registry=registry
)
ended_updates = Counter(
    "farfix_updates_ended", "Machines whose update ended, by phase.", ["outcome"], registry=registry
)
webhook_attempts = Counter(
    "farfix_webhook_attempts",
    "Requests to webhook endpoints, by what came of them: taken, failed.",
    ["outcome"],
    registry=registry,
)
webhook_waiting = Gauge(
    "farfix_webhook_waiting", "Events that wait for an endpoint.", registry=registry
)
outbox_waiting = Gauge(
    "farfix_outbox_waiting", "Decided effects that are not done yet.", registry=registry
)


class Boards(Collector):
    """What the workers count, summed over all of them."""

    def __init__(self) -> None:
        self._boards: list[Board] = []
        registry.register(self)

    def watch(self, boards: list[Board]) -> None:
        """Read these from now on."""
        self._boards = boards

    def collect(self) -> Iterator[Metric]:
        """Yield one metric for each counter; a worker that starts again begins at 0."""
        for counter, (name, text) in _COUNTED.items():
            total = sum(board.counted(counter) for board in self._boards)
            yield CounterMetricFamily(name, text, value=total)
        waiting = sum(board.journal_bytes for board in self._boards)
        yield GaugeMetricFamily(
            "farfix_journal_bytes", "Bytes in the journals that still wait.", value=waiting
        )
        yield self._delays()

    def _delays(self) -> HistogramMetricFamily:
        counts = [sum(c) for c in zip(*(b.delay_buckets for b in self._boards), strict=True)]
        below, buckets = 0.0, []
        for bound, count in zip([*DELAY_BOUNDS_S, math.inf], counts, strict=False):
            below += count
            buckets.append(("+Inf" if bound == math.inf else repr(bound), below))
        return HistogramMetricFamily(
            "farfix_detection_delay_seconds",
            "Plant time from the measurement to its assessment.",
            buckets=buckets or [("+Inf", 0.0)],
            sum_value=sum(board.counted("delay_sum_s") for board in self._boards),
        )


boards = Boards()


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format (see `CONTENT_TYPE`)."""
    return generate_latest(registry)
