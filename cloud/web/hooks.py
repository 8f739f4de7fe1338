"""Webhook endpoints and deliveries: the API."""

from fastapi import APIRouter

from cloud.web.guard import Doors
from cloud.web.hook_ports import Hooks


def routes(hooks: Hooks, doors: Doors) -> APIRouter:
    """Return the routes."""
    del hooks, doors
    return APIRouter(prefix="/api")
