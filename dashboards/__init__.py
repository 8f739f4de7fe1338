"""Grafana dashboards and alert rules as code; ``make dashboards`` writes them out."""
