"""The one file that writes and reads MQTT topics.

Shape: ``farfix/v1/{partition}/{site}/{device}/{channel}``. The partition is a stable hash of the
device's name, so a gateway of N workers splits the fleet with N plain subscriptions; shared
subscriptions would reorder a device's messages.

An edge agent is itself a device on its site: its last will lies on its own ``status`` topic.
"""

import re
import zlib
from enum import StrEnum

from msgspec import Struct

from contract.errors import Malformed

PREFIX = "farfix/v1"
PARTITIONS = 64
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)


class Channel(StrEnum):
    """What a topic carries, and who writes it."""

    TELEMETRY = "telemetry"
    """Equipment or edge agent -> gateway: a `TelemetryBatch`. QoS 1."""
    STATUS = "status"
    """Edge agent -> gateway, retained: a `Status` of the agent or of one of its devices."""
    ANSWER = "answer"
    """Edge agent -> gateway: an `Answer` to a command. QoS 1."""
    ACK = "ack"
    """Gateway -> edge agent: an `Ack`; what it covers may leave the spool. QoS 0:
    a sender that misses one repeats its oldest batch and is acknowledged again."""
    COMMAND = "command"
    """Gateway -> edge agent: a `Command`. QoS 1, never retained."""
    FAULT = "fault"
    """Gateway -> anyone, retained: the open `Fault` of the device, empty when there is none."""


FROM_PLANT = (Channel.TELEMETRY, Channel.STATUS, Channel.ANSWER)
"""Channels that a plant may write and the gateway reads."""
TO_PLANT = (Channel.ACK, Channel.COMMAND, Channel.FAULT)
"""Channels that only the gateway may write."""


class Topic(Struct, frozen=True):
    """One device's channel."""

    site: str
    device: str
    channel: Channel

    def __str__(self) -> str:
        """Return the topic as it stands on the wire."""
        return f"{PREFIX}/{partition(self.device)}/{self.site}/{self.device}/{self.channel}"


def partition(device: str) -> int:
    """Return the device's partition, 0 to 63: the CRC-32 of its name modulo 64."""
    return zlib.crc32(device.encode()) % PARTITIONS


def name(text: str) -> str:
    """Return a site's or device's name unchanged if it may stand in a topic.

    Raises:
        Malformed: it is not 1 to 64 of ``a-z 0-9 _ -``, starting and ending with a letter or digit.
    """
    if not _NAME.fullmatch(text):
        raise Malformed(
            f"{text[:80]!r} cannot name a site or device: use 1 to 64 of a-z, 0-9, '-' and '_', "
            "starting and ending with a letter or digit"
        )
    return text


def build(site: str, device: str, channel: Channel) -> str:
    """Return the topic of a device's channel; refuses names that would break it."""
    return str(Topic(name(site), name(device), channel))


def parse(topic: str) -> Topic:
    """Read a topic back.

    Raises:
        Malformed: not one of ours, or the partition is not the device's.
    """
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != PREFIX:
        raise Malformed(f"topic {topic[:200]!r} is not {PREFIX}/partition/site/device/channel")
    _, _, part, site, device, channel = parts
    if channel not in list(Channel):
        raise Malformed(f"topic {topic[:200]!r} ends in no known channel: {', '.join(Channel)}")
    if part != str(partition(name(device))):
        raise Malformed(
            f"topic {topic[:200]!r} has partition {part}, but {device} belongs to "
            f"{partition(device)} (crc32 of the name modulo {PARTITIONS})"
        )
    return Topic(name(site), device, Channel(channel))


def subscriptions(channel: Channel, worker: int = 0, workers: int = 1) -> list[str]:
    """Return the plain filters by which one of ``workers`` receives its share of a channel."""
    if workers == 1:
        return [f"{PREFIX}/+/+/+/{channel}"]
    return [f"{PREFIX}/{p}/+/+/{channel}" for p in range(worker, PARTITIONS, workers)]


def site_filter(site: str, channel: Channel) -> str:
    """Return the filter of all devices' channel on one site, or on every site for ``+``."""
    return f"{PREFIX}/+/{site if site == '+' else name(site)}/+/{channel}"
