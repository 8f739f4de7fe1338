"""Bundles for swupdate: a payload that names its version, signed by CMS, packed by cpio.

The payload's first line is what a computer reads as its running version. The rest is seeded noise,
so that every byte of it differs between releases and a mixture of two can not pass for either.
"""

import hashlib
import random
import subprocess
from pathlib import Path

from msgspec import Struct

from contract.errors import Malformed, Unreachable
from contract.firmware import Version

SLOTS = {"a": Path("a/payload.bin"), "b": Path("b/payload.bin")}
"""Where payloads go, from the folder of the computer that swupdate runs in. Two, because swupdate
2022.12 leaves half a payload behind when a download ends early, even with ``atomic-install``: it
renames what it has. The slot that runs must not be the one that is written."""
DESCRIPTION, SIGNATURE = "sw-description", "sw-description.sig"
PAYLOAD = "payload.bin"
BOARD, REVISION = "edge", "1.0"
"""What swupdate is told that it runs on."""
TIMEOUT_S = 60.0
_MAGIC = b"farfix-payload "
_LINE_BYTES = 64
"""Longest first line; longer than any version."""


class Signer(Struct, frozen=True):
    """Whose bundles a computer installs: it has the certificate, whoever releases has the key."""

    key: Path
    certificate: Path


class Bundle(Struct, frozen=True, kw_only=True):
    """A release as swupdate takes it, and what its payload really is."""

    version: Version
    file: Path
    payload_sha256: str


def make_signer(folder: Path, name: str) -> Signer:
    """Make a key and its self-signed certificate.

    Raises:
        Unreachable: openssl cannot be run, or did not succeed.
    """
    signer = Signer(folder / f"{name}.key", folder / f"{name}.pem")
    _run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} "
        "-addext extendedKeyUsage=emailProtection",
        ["-keyout", str(signer.key), "-out", str(signer.certificate)],
        folder,
    )
    signer.key.chmod(0o600)
    return signer


def payload(version: Version, size_bytes: int, seed: int) -> bytes:
    """Return a payload of that size that says it is that version."""
    line = _MAGIC + version.encode() + b"\n"
    noise = random.Random(f"{seed} {version}")  # noqa: S311 - to be repeated, no secret
    return line + noise.randbytes(size_bytes - len(line))


def version_in(file: Path) -> Version:
    """Return the version that the payload in a slot says it is.

    Raises:
        Malformed: there is no payload, or it does not begin as ours do.
    """
    try:
        with file.open("rb") as opened:
            line = opened.read(_LINE_BYTES).partition(b"\n")[0]
    except FileNotFoundError as error:
        raise Malformed(f"{file} does not exist") from error
    if not line.startswith(_MAGIC):
        raise Malformed(f"{file} does not begin with {_MAGIC!r}")
    return line.removeprefix(_MAGIC).decode("ascii", "replace")


def build(folder: Path, version: Version, content: bytes, signer: Signer) -> Bundle:
    """Pack and sign a release; the folder, made for it, keeps all parts.

    Raises:
        Unreachable: openssl or cpio cannot be run, or did not succeed.
    """
    folder.mkdir(parents=True)
    digest = hashlib.sha256(content).hexdigest()
    (folder / PAYLOAD).write_bytes(content)
    (folder / DESCRIPTION).write_text(_description(version, digest))
    _run(
        f"openssl cms -sign -in {DESCRIPTION} -out {SIGNATURE} -outform DER -nosmimecap -binary",
        ["-signer", str(signer.certificate), "-inkey", str(signer.key)],
        folder,
    )
    # swupdate reads a stream: the description and its signature must come first
    names = f"{DESCRIPTION}\n{SIGNATURE}\n{PAYLOAD}\n"
    packed = _run("cpio --quiet -o -H crc", [], folder, names.encode())
    file = folder / f"{version}.swu"
    file.write_bytes(packed)
    return Bundle(version=version, file=file, payload_sha256=digest)


def _description(version: Version, sha256: str) -> str:
    slots = "".join(
        f'      {name}: {{ files: ({{ filename = "{PAYLOAD}"; path = "{path}";\n'
        f'        sha256 = "{sha256}"; type = "rawfile"; installed-directly = true;\n'
        '        properties = { atomic-install = "true"; }; }); };\n'
        for name, path in SLOTS.items()
    )
    return (
        f'software = {{\n  version = "{version}";\n  {BOARD} = {{\n'
        f'    hardware-compatibility: ["{REVISION}"];\n    stable = {{\n{slots}    }};\n'
        "  };\n}\n"
    )


def _run(words: str, paths: list[str], folder: Path, given: bytes = b"") -> bytes:
    """Run a program in a folder and return what it prints."""
    try:
        done = subprocess.run(
            [*words.split(), *paths],
            cwd=folder,
            input=given,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{words} cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-500:]
        raise Unreachable(f"{words} did not succeed: {said}")
    return done.stdout
