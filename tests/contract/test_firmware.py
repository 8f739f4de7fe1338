"""Releases: what is signed, what a bootloader believes, what a target of the repository says."""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tuf.api import exceptions

from contract import firmware, trust
from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import Claims, Format

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
NUMBERS = st.integers(0, 999)
VERSIONS = st.builds("{}.{}.{}".format, NUMBERS, NUMBERS, NUMBERS)
CLAIMS = st.builds(
    Claims,
    machine_type=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    version=VERSIONS,
    format=st.sampled_from(Format),
    hardware=st.lists(st.integers(1, 65535), max_size=3),
    min_version=VERSIONS,
    cures=st.lists(st.text(min_size=1, max_size=64), max_size=3),
    high_risk=st.booleans(),
    notes=st.text(max_size=100),
)


@given(VERSIONS)
def test_a_version_survives_its_register(version: str) -> None:
    assert firmware.version_text(firmware.version_number(version)) == version


@given(VERSIONS, VERSIONS)
def test_version_numbers_are_ordered_as_versions_are(one: str, other: str) -> None:
    parts = [tuple(int(part) for part in version.split(".")) for version in (one, other)]
    smaller = firmware.version_number(one) < firmware.version_number(other)
    assert smaller == (parts[0] < parts[1])


@pytest.mark.parametrize("number", [-1.0, 0.5, 1e9])
def test_a_number_that_no_version_has_is_refused(number: float) -> None:
    with pytest.raises(Malformed):
        firmware.version_text(number)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_bootloader_believes_the_image_that_was_signed_and_no_other(
    image: bytes, data: st.DataObject
) -> None:
    release = firmware.sign(KEY, "chiller", "1.1.0", image)
    firmware.verify(release, image, PUBLIC)
    place = data.draw(st.integers(0, len(image) - 1))
    wrong = bytearray(image)
    wrong[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused, match="hash"):
        firmware.verify(release, bytes(wrong), PUBLIC)
    with pytest.raises(Refused, match="bytes"):
        firmware.verify(release, image + b"x", PUBLIC)
    # an attacker who changes the metadata with it still lacks the key
    forged = replace(release, sha256=hashlib.sha256(wrong).hexdigest())
    with pytest.raises(Refused, match="not signed by the key"):
        firmware.verify(forged, bytes(wrong), PUBLIC)


@pytest.mark.parametrize("changed", [{"version": "1.1.1"}, {"machine_type": "centrifugal_pump"}])
def test_a_signature_is_for_one_type_and_version(changed: dict[str, str]) -> None:
    release = firmware.sign(KEY, "chiller", "1.1.0", b"image")
    with pytest.raises(Refused, match="not signed by the key"):
        firmware.verify(replace(release, **changed), b"image", PUBLIC)


def test_a_stranger_signs_nothing() -> None:
    release = firmware.sign(Ed25519PrivateKey.generate(), "chiller", "1.1.0", b"image")
    with pytest.raises(Refused, match="not signed by the key"):
        firmware.verify(release, b"image", PUBLIC)


@given(CLAIMS, st.integers(1, firmware.MAX_BUNDLE_BYTES))
def test_a_target_says_what_was_claimed(claims: Claims, size_bytes: int) -> None:
    path = firmware.target_path(claims.machine_type, claims.version, claims.format)
    custom = msgspec.json.decode(msgspec.json.encode(claims))
    release = trust.release(path, size_bytes, {"sha256": "0" * 64}, custom)
    assert release.size_bytes == size_bytes
    assert (
        msgspec.convert({name: getattr(release, name) for name in Claims.__struct_fields__}, Claims)
        == claims
    )


@pytest.mark.parametrize(
    ("path", "size_bytes", "sha256", "changed", "message"),
    [
        ("chiller/1.1.1.img", 1, "0" * 64, {}, "says that it is"),
        ("chiller/1.1.0.swu", 1, "0" * 64, {}, "says that it is"),
        ("../chiller/1.1.0.img", 1, "0" * 64, {}, "says that it is"),
        ("chiller/1.1.0.img", 0, "0" * 64, {}, "size_bytes"),
        ("chiller/1.1.0.img", firmware.MAX_BUNDLE_BYTES + 1, "0" * 64, {}, "size_bytes"),
        ("chiller/1.1.0.img", 1, "0" * 63, {}, "sha256"),
        ("chiller/1.1.0.img", 1, "0" * 64, {"hardware": [0]}, "hardware"),
        ("chiller/1.1.0.img", 1, "0" * 64, {"surprise": 1}, "surprise"),
        ("chiller/1.1.0.img", 1, "0" * 64, {"signature": "00"}, "signature"),
        ("chiller/1.1.0.img", 1, "0" * 64, {"min_version": "old"}, "min_version"),
    ],
)
def test_a_target_that_is_no_release_is_explained(
    path: str, size_bytes: int, sha256: str, changed: dict[str, object], message: str
) -> None:
    custom = {"machine_type": "chiller", "version": "1.1.0"} | changed
    with pytest.raises(Malformed, match=message):
        trust.release(path, size_bytes, {"sha256": sha256}, custom)


@pytest.mark.parametrize("name", ["..", "../chiller", "/etc", "a/b", "a\n", "%2e", ".hidden"])
def test_a_machine_type_leads_nowhere(name: str) -> None:
    path = firmware.target_path(name, "1.1.0")
    with pytest.raises(Malformed, match="no name of a machine type"):
        trust.release(path, 1, {"sha256": "0" * 64}, {"machine_type": name, "version": "1.1.0"})


@pytest.mark.parametrize("custom", [None, [], "text", {}])
def test_a_target_without_claims_is_no_release(custom: object) -> None:
    with pytest.raises(Malformed, match="is no release"):
        trust.release("chiller/1.1.0.img", 1, {"sha256": "0" * 64}, custom)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (exceptions.ExpiredMetadataError("New targets is expired"), Refused, "targets .* expired"),
        (exceptions.EqualVersionNumberError(), Refused, "older"),
        (exceptions.LengthOrHashMismatchError("Observed"), Refused, "not the one that was signed"),
        (exceptions.RepositoryError("odd"), Refused, "contradicts itself"),
        (exceptions.DownloadLengthMismatchError("9 bytes"), Refused, "more is sent"),
        (exceptions.DownloadHTTPError("gone", 404), Unreachable, "answered 404"),
        (exceptions.SlowRetrievalError(), Unreachable, "slowly"),
        (exceptions.DownloadError("no"), Unreachable, "cannot be reached: no"),
        (
            exceptions.UnsignedMetadataError("root was signed by 1/2 keys"),
            Refused,
            "root metadata has 1 of 2 signatures",
        ),
    ],
)
def test_errors_of_the_library_are_said_in_our_words(
    error: Exception, kind: type[Exception], said: str
) -> None:
    told = trust.translate(error)
    assert type(told) is kind
    with pytest.raises(kind, match=said):
        raise told


def test_every_error_of_the_library_has_a_sentence() -> None:
    for kind in (exceptions.RepositoryError, exceptions.DownloadError):
        for each in (kind, *kind.__subclasses__()):
            error = each("x", 1) if each is exceptions.DownloadHTTPError else each("x")
            assert each.__name__ not in trust.explain(error).partition("(")[0]


def test_other_errors_keep_their_name() -> None:
    assert trust.explain(ValueError("x")) == "ValueError: x"
