"""A worker process: telemetry of its share of the devices, from the wire to verdicts and series."""
