"""What may run where, from signed claims and what the machine shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Refused
from contract.firmware import MAX_IMAGE_BYTES, Release, version_number
from edge.core import compatibility

versions = st.builds("{}.{}.{}".format, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
revisions = st.integers(1, 4)


def release(
    version: str = "1.2.3",
    hardware: list[int] | None = None,
    min_version: str = "0.0.0",
    size_bytes: int = 1,
    signature: str = "ab" * 64,
) -> Release:
    return Release(
        machine_type="centrifugal_pump",
        version=version,
        hardware=hardware or [],
        min_version=min_version,
        size_bytes=size_bytes,
        sha256="0" * 64,
        signature=signature,
    )


@given(versions, st.lists(revisions, max_size=3), versions, versions, st.integers(0, 4))
def test_nothing_older_nothing_foreign_and_nothing_too_early_is_installed(
    version: str, fits: list[int], min_version: str, running: str, hardware: int
) -> None:
    asked = release(version, fits, min_version)
    new, now = version_number(version), version_number(running)
    allowed = (not fits or hardware in fits) and new >= now
    allowed = allowed and (new == now or now >= version_number(min_version))
    if allowed:
        assert compatibility.needs_install(asked, running, hardware) is (new > now)
    else:
        with pytest.raises(Refused):
            compatibility.needs_install(asked, running, hardware)


def test_a_machine_that_does_not_show_its_version_is_left_alone() -> None:
    with pytest.raises(Refused, match="does not show"):
        compatibility.needs_install(release(), "", 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (release(size_bytes=MAX_IMAGE_BYTES + 1), "fit into a slot"),
        (release(signature=""), "without the signature"),
    ],
)
def test_what_no_bootloader_can_take_is_not_fetched(wrong: Release, said: str) -> None:
    compatibility.check_kind(release(size_bytes=MAX_IMAGE_BYTES))
    with pytest.raises(Refused, match=said):
        compatibility.check_kind(wrong)
