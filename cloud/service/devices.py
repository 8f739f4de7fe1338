"""What is kept of machines for their updates: tokens, attributes, hardware, quarantine."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from msgspec.structs import replace

from cloud.adapters.rollout_store import DeviceRow, Line
from cloud.service.parts import Parts
from cloud.web.rollout_ports import AttributeMode, DeviceRecord
from contract.errors import Refused

ATTRIBUTES_MAX = 100
TEXT_MAX = 256
HARDWARE_MAX = 65535
_NOBODY = "0" * 64
"""Compared with when there is no token, so that unknown machines take as long."""


class Devices:
    """Records of all machines, in memory and in the database."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rows = {row.device: row for row in parts.store.updates.devices()}
        self._polled_ns: dict[str, int] = {}

    def row(self, device: str) -> DeviceRow:
        """Return what is kept; a fresh row for a machine that nothing is kept of."""
        return self._rows.get(device) or DeviceRow(device=device)

    def keep(self, row: DeviceRow) -> None:
        """Take over a row that has been saved."""
        self._rows[row.device] = row

    def hardware(self, device: str) -> int:
        """Return the revision that the machine shows, else the one in the settings."""
        asset = self._parts.assets.get(device)
        return self.row(device).hardware or (asset.hardware if asset else 0)

    def saw_hardware(self, device: str, revision: int) -> None:
        """Take in what an agent has read from the machine."""
        row = self.row(device)
        if device in self._parts.assets and revision and revision != row.hardware:
            said = f"Hardware revision {revision}."
            self._save(replace(row, hardware=revision), "gateway", "hardware", said)

    def polled(self, device: str) -> None:
        """Note that the machine asked over DDI."""
        self._polled_ns[device] = self._parts.clock.now_ns()

    def record(self, device: str) -> DeviceRecord | None:
        """Return what is kept, for people."""
        if device not in self._parts.assets:
            return None
        row = self.row(device)
        return DeviceRecord(
            device=device,
            has_token=bool(row.token_hash),
            attributes=row.attributes,
            hardware=self.hardware(device),
            quarantined=row.quarantined,
            failures=row.failures,
            last_poll_ns=self._polled_ns.get(device),
        )

    def admitted(self, device: str, token: str) -> bool:
        """Tell whether this is the machine's token, in the same time whether it has one or not."""
        expected = self.row(device).token_hash
        same = hmac.compare_digest(_hash(token), expected or _NOBODY)
        return same and bool(expected) and device in self._parts.assets

    def issue_token(self, device: str, by: str) -> str:
        """Make the machine's token; an older one is good no more.

        Raises:
            Refused: no such machine, or its type does not speak DDI.
        """
        asset = self._parts.assets.get(device)
        if asset is None:
            raise Refused(f"{device} is not in the gateway's list of assets")
        if not self._parts.machines[asset.machine_type].ddi:
            raise Refused(
                f"machines of type {asset.machine_type} do not speak DDI; an edge agent updates "
                "them"
            )
        token = secrets.token_urlsafe(32)
        row = replace(self.row(device), token_hash=_hash(token))
        self._save(row, by, "token issued", "A new DDI token; an older one is good no more.")
        return token

    def revoke_token(self, device: str, by: str) -> None:
        """Cut the machine off."""
        row = replace(self.row(device), token_hash="")
        self._save(row, by, "token revoked", "The machine's DDI token is good no more.")

    def release(self, device: str, by: str) -> None:
        """Let the machine take part in rollouts again.

        Raises:
            Refused: it is not in quarantine.
        """
        row = self.row(device)
        if not row.quarantined:
            raise Refused(f"{device} is not in quarantine")
        said = f"Out of quarantine, where it was because: {row.quarantined}"
        self._save(replace(row, quarantined="", failures=0), by, "released", said)

    def set_attributes(self, device: str, data: Mapping[str, str], mode: AttributeMode) -> None:
        """Keep what the machine says of itself.

        Raises:
            Refused: too many or too long.
        """
        row = self.row(device)
        kept = {} if mode == "replace" else dict(row.attributes)
        if mode == "remove":
            kept = {name: text for name, text in kept.items() if name not in data}
        else:
            kept |= data
        if len(kept) > ATTRIBUTES_MAX:
            raise Refused(f"{len(kept)} attributes; at most {ATTRIBUTES_MAX} are kept")
        if any(len(part) > TEXT_MAX for pair in data.items() for part in pair):
            raise Refused(f"an attribute is longer than {TEXT_MAX} characters")
        if kept != row.attributes or not row.attributes:
            text = kept.get("hw_revision", "")
            number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
            hardware = number if 0 < number <= HARDWARE_MAX else row.hardware
            changed = replace(row, attributes=kept, hardware=hardware)
            self._save(changed, device, "attributes", f"{len(kept)} attributes.")

    def _save(self, row: DeviceRow, by: str, what: str, text: str) -> None:
        now_ns = self._parts.clock.now_ns()
        line = Line(at_ns=now_ns, by=by, what=what, text=text, device=row.device)
        self._parts.store.updates.save(None, lines=[line], devices=[row])
        self.keep(row)


def _hash(token: str) -> str:
    # a token has 256 random bits: nothing slower than one hash is needed
    return hashlib.sha256(token.encode()).hexdigest()
