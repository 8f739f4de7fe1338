"""What was saved, counted by the published rule."""

from cloud.web.faces import Faces


def install(faces: Faces) -> None:
    """Register the page."""
    del faces
