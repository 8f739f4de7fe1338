"""The command line: `farfix demo`, `replay`, `validate`, `doctor`, and one verb per program."""
