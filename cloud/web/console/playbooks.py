"""What is tried for which fault, as it is in force."""

from cloud.web.faces import Faces


def install(faces: Faces) -> None:
    """Register the page."""
    del faces
