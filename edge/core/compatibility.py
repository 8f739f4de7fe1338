"""Whether a release may run on a machine, from what was signed and what the machine shows."""

from contract.errors import Refused
from contract.firmware import MAX_IMAGE_BYTES, Release, version_number


def check_kind(release: Release) -> None:
    """Check that a release is one for the update block.

    Raises:
        Refused: it is too large, or the bootloader could not check it.
    """
    name = f"release {release.version}"
    if release.size_bytes > MAX_IMAGE_BYTES:
        raise Refused(f"{name} has {release.size_bytes} bytes; {MAX_IMAGE_BYTES} fit into a slot")
    if not release.signature:
        raise Refused(f"{name} comes without the signature that the bootloader asks for")


def needs_install(release: Release, running: str, hardware: int) -> bool:
    """Tell whether a release is still to be installed; false when it runs already.

    Args:
        release: from signed metadata.
        running: version read from the machine; empty: it shows none.
        hardware: revision read from the machine; 0: it shows none.

    Raises:
        Refused: it must not be installed there.
    """
    name = f"release {release.version}"
    if release.hardware and hardware not in release.hardware:
        shown = f"has revision {hardware}" if hardware else "shows none"
        fits = ", ".join(str(revision) for revision in release.hardware)
        raise Refused(f"{name} runs on hardware {fits}; the machine {shown}")
    if not running:
        raise Refused("the machine does not show which version it runs")
    now = version_number(running)
    if version_number(release.version) < now:
        raise Refused(f"{name} is older than {running}, which runs: that would be a downgrade")
    if version_number(release.version) == now:
        return False
    if now < version_number(release.min_version):
        raise Refused(f"{name} needs {release.min_version} to run first; {running} runs")
    return True
