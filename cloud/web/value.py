"""The value ledger: the API."""

from fastapi import APIRouter

from cloud.web.guard import Doors
from cloud.web.value_ports import Value


def routes(value: Value, doors: Doors) -> APIRouter:
    """Return the routes."""
    del value, doors
    return APIRouter(prefix="/api")
