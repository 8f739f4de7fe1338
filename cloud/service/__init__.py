"""The gateway's loops: intake, watch, desk, outbox, feed. They ask the core, perform, feed back."""
