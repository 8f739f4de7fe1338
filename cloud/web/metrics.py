"""The gateway's Prometheus metrics: counted by the service, served at ``/metrics``.

Labels take few values on purpose (phases, outcomes, reasons; never devices or cases), so that the
number of time series does not grow with the fleet.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
registry = CollectorRegistry()
ProcessCollector(registry=registry)

accepted_batches = Counter(
    "farfix_batches_accepted", "Telemetry batches taken into the journal.", registry=registry
)
repeated_batches = Counter(
    "farfix_batches_repeated", "Batches received again and dropped.", registry=registry
)
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
scored_readings = Counter(
    "farfix_readings_scored", "Readings judged by a monitor.", registry=registry
)
written_rows = Counter(
    "farfix_series_rows_written", "Rows stored in the time series store.", registry=registry
)
rejected_rows = Counter(
    "farfix_series_rows_rejected",
    "Rows that the time series store refused; they are quarantined.",
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
outbox_waiting = Gauge(
    "farfix_outbox_waiting", "Decided effects that are not done yet.", registry=registry
)
journal_bytes = Gauge(
    "farfix_journal_bytes", "Bytes in the intake journal that still wait.", registry=registry
)
detection_delay_seconds = Histogram(
    "farfix_detection_delay_seconds",
    "Plant time from the measurement to its assessment.",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
    registry=registry,
)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format (see `CONTENT_TYPE`)."""
    return generate_latest(registry)
