"""The control port: JSON lines by which a test or a demonstration breaks machines.

It is bound to this computer only and is no part of the machines: the product never speaks to it.
"""

import asyncio
import logging
from functools import partial
from typing import assert_never

import msgspec
from msgspec import Struct

from contract.errors import FarfixError
from firmware_sim.faults import CATALOGUE
from firmware_sim.plant import Plant

MAX_LINE_BYTES = 4096

log = logging.getLogger(__name__)


class Inject(Struct, frozen=True, tag_field="do", tag="inject"):
    """Start a fault."""

    device: str
    fault: str


class Repair(Struct, frozen=True, tag_field="do", tag="repair"):
    """End a fault as a visit does."""

    device: str
    fault: str


class Faults(Struct, frozen=True, tag_field="do", tag="faults"):
    """List what was injected, and what ended it."""


class Natures(Struct, frozen=True, tag_field="do", tag="natures"):
    """List what can be injected, and what ends it."""


Request = Inject | Repair | Faults | Natures


async def serve(port: int, plant: Plant) -> asyncio.Server:
    """Answer on a port of this computer."""
    return await asyncio.start_server(
        partial(_converse, plant), "127.0.0.1", port, limit=MAX_LINE_BYTES
    )


def answer(plant: Plant, line: bytes) -> object:
    """Carry out one request; a bad one is answered with what is wrong with it."""
    try:
        request = msgspec.json.decode(line, type=Request)
        match request:
            case Inject(device, fault):
                return {"ok": True, "at_ns": plant.inject(device, fault)}
            case Repair(device, fault):
                return {"ok": True, "at_ns": plant.repair(device, fault)}
            case Faults():
                return plant.episodes()
            case Natures():
                return _natures()
            case _:
                assert_never(request)
    except (msgspec.DecodeError, FarfixError) as error:
        return {"ok": False, "error": str(error)}


def _natures() -> dict[str, dict[str, dict[str, object]]]:
    return {
        machine_type: {
            code: {
                "nature": model.nature,
                "cured_by": model.cured_by,
                "diagnosable_as": model.diagnosable_as,
            }
            for code, model in faults.items()
        }
        for machine_type, faults in CATALOGUE.items()
    }


async def _converse(
    plant: Plant, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while line := await reader.readline():
            writer.write(msgspec.json.encode(answer(plant, line)) + b"\n")
            await writer.drain()
    except ValueError:
        log.warning("control: a line of more than %d bytes, hung up", MAX_LINE_BYTES)
    except ConnectionError as error:
        log.info("control: peer left: %s", error)
    finally:
        writer.close()
