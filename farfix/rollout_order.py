"""What to roll out, from options of the command line or from a TOML file."""

import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cloud.core.rollout_states import DEFAULT_POLICY, Order, Policy, Selection
from cloud.web import rollout_words
from contract.errors import Malformed

MAX_FILE_BYTES = 200_000


class Given(Struct, frozen=True):
    """Options; what is empty was not given."""

    machine_type: str
    version: str
    sites: list[str]
    labels: list[str]
    hardware: list[int]
    devices: list[str]
    stages: str
    soak: str
    title: str = ""


NOTHING = Given("", "", [], [], [], [], "", "")


def read(file: Path | None, given: Given) -> Order:
    """Return the order.

    Raises:
        Malformed: file and options together, or neither says enough; the field that is wrong.
    """
    if file is not None:
        if replace(given, title="") != NOTHING:
            raise Malformed("either --order or the options about machines and stages, not both")
        order = _from_file(file)
        return replace(order, title=given.title or order.title)
    if not given.machine_type or not given.version:
        raise Malformed("name the release: --machine-type and --version, or a file with --order")
    return Order(
        machine_type=given.machine_type,
        version=given.version,
        selection=Selection(
            sites=given.sites,
            devices=given.devices,
            labels=given.labels,
            hardware=given.hardware,
        ),
        policy=_policy(given),
        title=given.title,
    )


def _policy(given: Given) -> Policy:
    stages = DEFAULT_POLICY.stages
    soak_s = stages[0].soak_s if not given.soak else rollout_words.duration_s(given.soak)
    if given.stages:
        stages = rollout_words.stages(given.stages, soak_s)
    return replace(DEFAULT_POLICY, stages=[replace(stage, soak_s=soak_s) for stage in stages])


def _from_file(file: Path) -> Order:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise Malformed(f"{file}: larger than {MAX_FILE_BYTES} bytes, so no order")
        return msgspec.convert(tomllib.loads(data.decode()), Order)
    except OSError as error:
        raise Malformed(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"{file}: {error}") from error
