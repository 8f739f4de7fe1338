"""Photos: only pictures come in, only the picture is kept, and everything has a bound."""

import random
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud.adapters import photo, photo_store
from cloud.adapters.photo_store import PER_TICKET_MAX, PhotoRow
from cloud.adapters.store import Store
from contract.errors import Malformed, Refused


def picture(kind: str, size: tuple[int, int] = (320, 200), **options: Any) -> bytes:
    out = BytesIO()
    mode = "RGB" if kind == "JPEG" else "RGBA"
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 40).convert(mode).save(out, kind, **options)
    return out.getvalue()


def kept(folder: Path, data: bytes) -> bytes:
    path = folder / "upload"
    path.write_bytes(data)
    return photo.kept(path)


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("kind", photo.FORMATS)
def test_a_picture_of_each_format_is_kept_as_jpeg(tmp_path: Path, kind: str) -> None:
    image = opened(kept(tmp_path, picture(kind)))
    assert (image.format, image.size) == ("JPEG", (320, 200))


def test_metadata_and_what_hides_behind_the_picture_are_gone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe, 48.1N 11.5E"
    exif[0x0112] = 6  # lies on its side
    data = picture("JPEG", exif=exif, comment=b"secret comment") + b"<script>alert(1)</script>"
    assert b"Jane" in data
    made = kept(tmp_path, data)
    for hidden in (b"Jane", b"secret", b"script", b"Exif"):
        assert hidden not in made
    assert opened(made).size == (200, 320), "it was turned upright before the note was dropped"


def test_large_photos_become_smaller(tmp_path: Path) -> None:
    image = opened(kept(tmp_path, picture("JPEG", (4000, 3000))))
    assert image.size == (photo.SIDE_MAX, 1536)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    out = BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, "PNG")
    assert opened(kept(tmp_path, out.getvalue())).getpixel((20, 20)) == (255, 255, 255)


def bomb() -> bytes:
    """Return a PNG of some hundred bytes that says it has 2.5 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + bytes(40),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%PDF-1.7 ...",
        b"MZ" + bytes(100),
        picture("JPEG")[:-900],
        picture("PNG")[:300],
        picture("WEBP")[:80],
        bomb(),
    ],
)
def test_what_is_no_whole_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Malformed, match=r"photo"):
        kept(tmp_path, data)


def test_the_bomb_is_refused_by_what_it_says_before_it_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"pixels"):
        kept(tmp_path, bomb())


@pytest.mark.parametrize("kind", photo.FORMATS)
def test_broken_pictures_are_refused_or_drawn_anew_and_nothing_else(
    tmp_path: Path, kind: str
) -> None:
    whole, luck, outcomes = picture(kind, (64, 48)), random.Random(kind), set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(luck.randint(1, 8)):
            data[luck.randrange(len(data))] = luck.randrange(256)
        try:
            made = kept(tmp_path, bytes(data[: luck.randint(1, len(data))]))
        except Malformed:
            outcomes.add("refused")
        else:
            assert opened(made).format == "JPEG"
            outcomes.add("kept")
    assert "refused" in outcomes


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url)
    yield made
    made.close()


def row(number: int, data: bytes = b"jpeg") -> PhotoRow:
    return PhotoRow(ticket="pump-1-a", name=f"{number}.jpg", at_ns=number, by="crm", data=data)


def test_photos_are_kept_once_in_their_order(store: Store) -> None:
    for number in (2, 1, 2):
        store.photos.put(row(number))
    store.photos.put(row(1, b"another content under a known name changes nothing"))
    assert store.photos.names("pump-1-a") == ["1.jpg", "2.jpg"]
    assert store.photos.photo("pump-1-a", "1.jpg") == row(1)
    assert store.photos.photo("pump-1-b", "1.jpg") is None
    assert store.photos.delete("pump-1-a", "1.jpg")
    assert not store.photos.delete("pump-1-a", "1.jpg")
    assert store.photos.names("pump-1-a") == ["2.jpg"]


def test_a_ticket_has_ten_photos_at_most(store: Store) -> None:
    for number in range(PER_TICKET_MAX):
        store.photos.put(row(number))
    store.photos.put(row(3))
    with pytest.raises(Refused, match="10 photos already"):
        store.photos.put(row(99))


def test_all_photos_together_have_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_store, "TOTAL_BYTES_MAX", 10)
    store.photos.put(row(1, b"123456"))
    with pytest.raises(Refused, match="an admin must delete"):
        store.photos.put(row(2, b"123456"))
    store.photos.put(row(3, b"1234"))
