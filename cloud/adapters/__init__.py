"""Doors to the outside: broker, databases, webhooks, clock. Foreign errors end here."""
