"""The page on which people sign in."""

from cloud.web.faces import Faces


def install(faces: Faces) -> None:
    """Register the page."""
    del faces
