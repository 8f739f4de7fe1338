"""The list of machines that a gateway looks after."""

from msgspec import Struct

from cloud.core.playbook import Tier


class AssetRow(Struct, frozen=True, kw_only=True):
    """One machine that the gateway looks after."""

    device: str
    site: str
    machine_type: str
    title: str = ""
    serial: str = ""
    address: str = ""
    tier: Tier = "B"
    labels: list[str] = []
    """Words of the operator's own, by which rollouts select."""
    hardware: int = 0
    """Revision, where the machine cannot tell it itself; 0: not known."""
    customer: str = ""
    """Who is told about it; empty: nobody."""
    time_zone: str = "UTC"
    """Of its site."""
