"""docker-compose.yml, which no test here can start: checked as far as it can be."""

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from farfix import credentials, validate
from farfix.__main__ import app

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("build")]


def test_it_is_what_the_compose_specification_allows() -> None:
    if importlib.util.find_spec("compose_spec") is None:
        message = "the validator is missing: pip install compose-spec==0.2.1"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    validator = importlib.import_module("compose_spec")
    # Merged as Compose does it; this validator does not know YAML's merge key.
    checked = validator.PyCompose.from_yaml(yaml.safe_dump(COMPOSE))
    assert sorted(checked.service_names()) == sorted(SERVICES)
    with pytest.raises(ValueError, match="imagine"):
        validator.PyCompose.from_yaml(yaml.safe_dump({"services": {"x": {"imagine": 1}}}))


def test_every_part_of_the_product_is_there() -> None:
    assert set(SERVICES) == {
        "mosquitto", "influxdb", "grafana", "postgres", "cloud", "edge", "sim",
    }  # fmt: skip
    assert sorted(OURS) == ["cloud", "edge", "sim"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert any(character.isdigit() for character in tag)
    for other, condition in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert condition == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", OURS)
def test_commands_are_verbs_and_their_configs_are_valid(name: str) -> None:
    verb, option, mounted = SERVICES[name]["command"]
    assert option in CliRunner().invoke(app, [verb, "--help"]).output
    sources = dict(volume.split(":")[1::-1] for volume in SERVICES[name]["volumes"])
    file = ROOT / sources[mounted]
    assert validate.check(file)


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_is_mounted_exists(name: str, tmp_path: Path) -> None:
    credentials.make(tmp_path)
    service = SERVICES[name]
    for secret in service.get("secrets", []):
        assert COMPOSE["secrets"][secret]["file"] == f"var/secrets/{secret}"
        assert (tmp_path / secret).stat().st_mode & 0o004, "containers run as other users"
    for file in service.get("env_file", []):
        assert (tmp_path / Path(file).name).exists()
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists()
        else:
            assert source in COMPOSE["volumes"]


def test_secrets_that_configs_name_are_mounted() -> None:
    for name in OURS:
        text = (ROOT / "deploy" / ("fleet.toml" if name == "sim" else f"{name}.toml")).read_text()
        for line in text.splitlines():
            if "/run/secrets/" in line:
                secret = line.split("/run/secrets/")[1].rstrip('"')
                assert secret in SERVICES[name]["secrets"]
