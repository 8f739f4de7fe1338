"""Customers: what they were told, and what they answered."""

from cloud.web.faces import Faces


def install(faces: Faces) -> None:
    """Register the page."""
    del faces
