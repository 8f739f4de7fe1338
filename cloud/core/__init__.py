"""What the gateway decides: pure functions of state, event and time. No I/O, no clock, no dice."""
