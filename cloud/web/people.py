"""Sign-in, people and tokens: the API."""

from fastapi import APIRouter

from cloud.config import Config
from cloud.web.guard import Doors
from cloud.web.people_ports import People


def routes(people: People, doors: Doors, config: Config) -> APIRouter:
    """Return the routes."""
    del people, doors, config
    return APIRouter(prefix="/api")
