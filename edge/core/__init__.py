"""Decisions of the edge agent: pure functions without clock, network or disk."""
