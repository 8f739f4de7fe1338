"""The program beside the machines: polls, keeps, publishes, and carries out commands."""
