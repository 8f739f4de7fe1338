"""Write all dashboards and alert rules: ``python -m dashboards.build``."""

from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import alerts, fleet, gateway, machine, service

ROOT = Path(__file__).resolve().parents[1]
MADE = "# Made by `make dashboards` from dashboards/alerts.py; a test compares the two.\n"


def files() -> dict[Path, str]:
    """Return what is to be written, and where."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    made = {
        ROOT / "dashboards" / f"{module.__name__.split('.')[-1]}.json": encoder.encode(
            module.dashboard().build()
        )
        + "\n"
        for module in (fleet, machine, service, gateway)
    }
    text = yaml.safe_dump(alerts.rules(), sort_keys=False, width=100)
    return {**made, ROOT / "deploy/grafana/alerting/rules.yml": MADE + text}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
