"""Frames of telemetry from single rows, as tests like to write them."""

from collections.abc import Sequence

import numpy as np

from cloud.adapters.series import Frame, Row


def frame(
    device: str,
    time_ns: int,
    fields: dict[str, float | None],
    measurement: str = "pump",
    site: str = "north",
) -> Frame:
    """Return a frame of one row."""
    values = [float("nan") if value is None else value for value in fields.values()]
    return Frame(
        measurement,
        tuple(fields),
        [device],
        [site],
        np.array([time_ns], dtype=np.int64),
        np.array([values], dtype=np.float64).reshape(1, len(values)),
    )


def frames(rows: Sequence[Row]) -> list[Frame]:
    """Return one frame for each run of rows that have the same fields."""
    made: list[Frame] = []
    for row in rows:
        one = frame(
            row.tags["device"], row.time_ns, dict(row.fields), row.measurement, row.tags["site"]
        )
        if made and (made[-1].measurement, made[-1].fields) == (one.measurement, one.fields):
            made[-1] = joined(made[-1], one)
        else:
            made.append(one)
    return made


def joined(first: Frame, second: Frame) -> Frame:
    """Return the rows of both."""
    return first._replace(
        devices=first.devices + second.devices,
        sites=first.sites + second.sites,
        times_ns=np.concatenate([first.times_ns, second.times_ns]),
        values=np.concatenate([first.values, second.values]),
    )
