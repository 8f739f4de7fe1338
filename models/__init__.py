"""Detection and diagnosis: readings in, verdicts and ranked faults out; no I/O, no clock."""
