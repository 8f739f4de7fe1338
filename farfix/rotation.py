"""Change the keys of a role, or renew the root: a new root, signed by the old and the new keys."""

from collections.abc import Sequence

from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Root

from contract.errors import Refused
from farfix import repository
from farfix.repository import Room, Standing

ID_DIGITS = 8
"""So many first digits of a key's id name it at least."""


def rotate(
    room: Room,
    role: str,
    signers: Sequence[CryptoSigner],
    *,
    days: float,
    add: Sequence[SSlibKey] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
) -> list[Standing]:
    """Stage the next root, or change the staged one, and sign it.

    While the old and the new key of a role are both listed, either may sign for it.

    Args:
        room: where the repository is.
        role: root, targets, snapshot or timestamp.
        signers: sign the root, and the targets if they must be signed anew.
        days: until the root expires.
        add: public keys that may sign for the role from now on.
        remove: ids of keys, or their beginnings, that may not any more.
        threshold: so many keys of the role must sign; left out, as before.

    Raises:
        Refused: no such role or key, or too few keys would be left.
    """
    metadata = repository.staged_root(room)
    if metadata is None:
        metadata = repository.root(room)
        metadata.signed.version += 1
    root = metadata.signed
    if role not in root.roles:
        raise Refused(f"there is no role {role!r}; there are: {', '.join(sorted(root.roles))}")
    for key in add:
        if key.keyid in root.roles[role].keyids:
            raise Refused(f"key {key.keyid[:16]} may sign for {role} already")
        root.add_key(key, role)
    for keyid in remove:
        root.revoke_key(_named(root, role, keyid), role)
    if threshold is not None:
        root.roles[role].threshold = threshold
    have, need = len(root.roles[role].keyids), root.roles[role].threshold
    if not 1 <= need <= have:
        raise Refused(f"{role} would need {need} signatures and have {have} keys")
    root.expires = repository.in_days(days)
    repository.stage(room, metadata)
    return repository.sign(room, signers)


def _named(root: Root, role: str, beginning: str) -> str:
    listed = root.roles[role].keyids
    found = [keyid for keyid in listed if keyid.startswith(beginning)]
    if len(beginning) < ID_DIGITS or len(found) != 1:
        raise Refused(
            f"{beginning!r} names none of the keys of {role}: give {ID_DIGITS} digits or more of "
            f"one of {', '.join(keyid[:16] for keyid in listed)}"
        )
    return found[0]
