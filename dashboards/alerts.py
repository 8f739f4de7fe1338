"""Alert rules, in the shape of Grafana's file provisioning.

In those files Grafana replaces whatever begins with a dollar sign by a variable of its environment,
in queries too. So there is none: times are written out, and labels are read as ``.Labels``.
"""

# ruff: noqa: S608 (the queries are written here and take nothing from outside)

from typing import Any

from dashboards.kit import SOURCE_UID

LOOK_S = 600
RECENT = "time > now() - 10m"
REST = "70m"
"""After people ended a case the gateway opens no other for an hour: that is no oversight."""

Rule = dict[str, Any]


def rules() -> dict[str, Any]:
    """Return the file."""
    found = [
        _rule(
            "alarm-without-case", "Machine in alarm without a case",
            f'SELECT min("alarm_without_case") FROM "farfix_machine" WHERE {RECENT} '
            'GROUP BY "device", "site"',
            ("gt", 0), REST, "{{ .Labels.device }} is in alarm and nothing is done about it.",
            to="gateway",
        ),
        _rule(
            "promise", "Promise about to be broken",
            'SELECT last("restore_left_s") FROM "farfix_machine" WHERE "case_open" = 1 '
            'AND time > now() - 3m GROUP BY "device", "site", "tier"',
            ("lt", 3600), "1m", "{{ .Labels.device }} must run again within the hour.",
        ),
        _rule(
            "lag", "Gateway lags behind",
            f'SELECT mean("lag_s") FROM "farfix_gateway" WHERE {RECENT} GROUP BY "gateway"',
            ("gt", 60), "5m", "Readings are judged more than a minute after they were measured.",
        ),
        _rule(
            "quarantine", "Messages are quarantined",
            f'SELECT sum("quarantined") FROM "farfix_gateway" WHERE {RECENT} GROUP BY "gateway"',
            ("gt", 10), "1m", "More than ten messages in ten minutes could not be used.",
        ),
        _rule(
            "deliveries", "Webhook deliveries were given up",
            f'SELECT last("deliveries_dead") FROM "farfix_gateway" WHERE {RECENT} '
            'GROUP BY "gateway"',
            ("gt", 0), "1m", "Look at them in the console and replay them.",
        ),
        _rule(
            "silence", "Gateway is silent",
            'SELECT count("readings_per_s") FROM "farfix_gateway" '
            'WHERE time > now() - 5m GROUP BY "gateway"',
            ("lt", 1), "1m", "The gateway has not written its load for five minutes.",
            no_data="Alerting",
        ),
    ]  # fmt: skip
    group = {"orgId": 1, "name": "farfix", "folder": "Farfix", "interval": "60s", "rules": found}
    return {"apiVersion": 1, "groups": [group]}


def _rule(  # noqa: PLR0917 - the order of a sentence
    uid: str,
    title: str,
    query: str,
    limit: tuple[str, float],
    lasting: str,
    summary: str,
    *,
    to: str = "people",
    no_data: str = "OK",
) -> Rule:
    """Return a rule.

    Args:
        uid: never changes.
        title: for people.
        query: finds the series that are looked at, each by itself.
        limit: ``gt`` or ``lt``, and of which number.
        lasting: how long the newest value must be beyond it.
        summary: what it means.
        to: who is told: ``gateway`` or ``people``.
        no_data: the state when the query finds nothing.
    """
    source = {"type": "influxdb", "uid": SOURCE_UID}
    asked = {
        "refId": "A", "datasource": source, "query": query, "rawQuery": True,
        "resultFormat": "time_series", "intervalMs": 60_000, "maxDataPoints": 1000,
    }  # fmt: skip
    newest = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last"}
    way, number = limit
    beyond = {
        "refId": "C", "type": "threshold", "expression": "B",
        "conditions": [{"evaluator": {"type": way, "params": [number]}}],
    }  # fmt: skip
    span = {"from": LOOK_S, "to": 0}
    return {
        "uid": f"farfix-{uid}",
        "title": title,
        "condition": "C",
        "for": lasting,
        "noDataState": no_data,
        "execErrState": "Error",
        "labels": {"to": to},
        "annotations": {"summary": summary},
        "data": [
            {"refId": "A", "datasourceUid": SOURCE_UID, "relativeTimeRange": span, "model": asked},
            {"refId": "B", "datasourceUid": "__expr__", "relativeTimeRange": span, "model": newest},
            {"refId": "C", "datasourceUid": "__expr__", "relativeTimeRange": span, "model": beyond},
        ],
    }
