"""Drills: fleets and clients that are put through faults, and counted."""
