"""The page behind a signed link: a customer says how it went."""

from cloud.web.faces import Faces


def install(faces: Faces) -> None:
    """Register the page."""
    del faces
