"""The back-channel: what the dispatch system says about visits."""

from fastapi import APIRouter

from cloud.web.guard import Doors
from cloud.web.people_ports import People
from cloud.web.ports import Desk


def routes(desk: Desk, people: People, doors: Doors) -> APIRouter:
    """Return the routes."""
    del desk, people, doors
    return APIRouter(prefix="/api")
