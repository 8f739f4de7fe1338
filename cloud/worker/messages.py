"""What the main process and its workers say to each other."""

import msgspec
from msgspec import Struct

from cloud.core.asset import AssetRow
from cloud.core.hours import Ended
from models.monitor import Assessment


class Start(Struct, frozen=True, tag=True):
    """Main: begin. Secrets travel here, not on the command line."""

    config: bytes
    """The gateway's whole configuration, as JSON."""
    number: int
    """Which worker this is, from 0."""
    client_id: str
    """Of the gateway at the broker; workers add their number."""
    broker_url: str
    username: str
    password: str
    assets: list[AssetRow]
    """All machines of the gateway; the worker knows which of them are its own."""


class Attend(Struct, frozen=True, tag=True):
    """Main: send me every verdict on these devices."""

    devices: list[str]


class Release(Struct, frozen=True, tag=True):
    """Main: of these devices only alarms matter again."""

    devices: list[str]


class Saved(Struct, frozen=True, tag=True):
    """Main: all that you said before this mark is saved here."""

    mark: int


class Stop(Struct, frozen=True, tag=True):
    """Main: save and end."""


class Verdict(Struct, frozen=True, tag=True):
    """Worker: a machine is in alarm, or one that is attended was judged."""

    device: str
    assessment: Assessment


class HourEnded(Struct, frozen=True, tag=True):
    """Worker: a machine's hour is over."""

    device: str
    ended: Ended


class DayEnded(Struct, frozen=True, tag=True):
    """Worker: a healthy machine's day is over."""

    device: str
    number: int
    """Days since 1970."""
    responses: list[float]
    conditions: list[float]


class Quarantined(Struct, frozen=True, tag=True):
    """Worker: a message that cannot be used."""

    topic: str
    payload: bytes
    reason: str


class Mark(Struct, frozen=True, tag=True):
    """Worker: save what I said so far, and answer `Saved`."""

    number: int


class Pulse(Struct, frozen=True, tag=True):
    """Worker: how I am; several times a second."""

    ready: bool
    """The journal has been worked off and the broker is being listened to."""
    connected: bool
    silent: list[str]
    """Devices that have sent before and send nothing now."""
    troubles: list[str]
    """What people should know, in sentences."""


class Leaving(Struct, frozen=True, tag=True):
    """Worker: somebody told me to end; say `Stop`, so that I can save first."""


ToWorker = Start | Attend | Release | Saved | Stop
ToMain = Verdict | HourEnded | DayEnded | Quarantined | Mark | Pulse | Leaving

to_worker = msgspec.msgpack.Decoder(ToWorker)
to_main = msgspec.msgpack.Decoder(ToMain)
