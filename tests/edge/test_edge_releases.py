"""Releases come whole, signed, fresh and within bounds, or not at all."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from contract import timescale
from contract.errors import Malformed, Refused
from contract.firmware import ReleaseRef
from edge.adapters import releases, web
from edge.adapters.clock import Clock
from edge.adapters.releases import NotFetched, Releases
from tests.edge import repo as repos
from tests.edge.repo import IMAGE, Repo, Server, ref

DAY_S = 86400.0


class SetClock(Clock):
    """A computer's clock that has been set wrong."""

    ahead_s = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + self.ahead_s


@pytest.fixture
def repo() -> Repo:
    made = Repo()
    made.add("1.4.0")
    made.publish()
    return made


@pytest.fixture
def server(repo: Repo) -> Iterator[Server]:
    with repos.serving(repo) as serving:
        yield serving


def agent(folder: Path, repo: Repo, clock: Clock | None = None) -> Releases:
    """Start an agent's releases; what lies in the folder is from its last life."""
    root = repos.root_file(folder, repo)
    return Releases(root, folder / "tuf", clock or Clock(timescale.parse("")))


async def test_a_release_is_verified_and_comes_with_its_image(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    repo.add("1.5.0", b"new", hardware=[2, 3], min_version="1.4.0", cures=["firmware_bug"])
    repo.publish()
    got = await agent(tmp_path, repo).fetch(ref(server, "1.5.0"))
    assert got.image == b"new"
    assert (got.release.version, got.release.hardware) == ("1.5.0", [2, 3])


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_download_that_breaks_off_is_taken_up_again(
    tmp_path: Path, repo: Repo, server: Server, ranges: bool
) -> None:
    server.breaks, server.ranges = 2, ranges
    assert (await agent(tmp_path, repo).fetch(ref(server))).image == IMAGE
    assert server.images() == ["", "bytes=5120-", f"bytes={7680 if ranges else 5120}-"]


async def test_a_download_goes_on_after_the_agent_was_started_again(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    server.breaks = releases_attempts = 4
    with pytest.raises(NotFetched, match="could not be fetched"):
        await agent(tmp_path, repo).fetch(ref(server))
    assert len(server.images()) == releases_attempts
    assert (await agent(tmp_path, repo).fetch(ref(server))).image == IMAGE
    assert server.images()[-1] == "bytes=9600-"
    assert (await agent(tmp_path, repo).fetch(ref(server))).image == IMAGE
    assert len(server.images()) == 5, "what lies on the disk is not asked for again"


async def test_a_spoilt_part_on_the_disk_is_thrown_away(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    await agent(tmp_path, repo).fetch(ref(server))
    (kept,) = (tmp_path / "tuf" / "images").iterdir()
    for spoilt in (b"?" * 100, b"?" * len(IMAGE), IMAGE + b"?"):
        kept.write_bytes(spoilt)
        assert (await agent(tmp_path, repo).fetch(ref(server))).image == IMAGE


async def test_only_a_few_images_stay_on_the_disk(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    for number in range(12):
        repo.add(f"2.0.{number}", b"%d" % number)
    repo.publish()
    fetching = agent(tmp_path, repo)
    for number in range(12):
        await fetching.fetch(ref(server, f"2.0.{number}"))
    assert len(list((tmp_path / "tuf" / "images").iterdir())) == 8


async def test_without_a_root_or_a_web_address_nothing_is_fetched(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    untrusting = Releases(None, tmp_path, Clock(timescale.parse("")))
    with pytest.raises(Refused, match="trusted_root"):
        await untrusting.fetch(ref(server))
    trusting = agent(tmp_path, repo)
    for address in ("file:///etc/passwd", "http://", "repository", ""):
        bad = ReleaseRef(machine_type=repos.PUMP, version="1.4.0", repository=address)
        with pytest.raises(Refused, match="no http"):
            await trusting.fetch(bad)
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"nonsense", "no TUF metadata"),
        (b"timestamp", "is timestamp metadata"),
        (b"unsigned", "0 of 1 signatures"),
    ],
)
def test_a_root_that_is_none_ends_the_start(
    tmp_path: Path, repo: Repo, content: bytes | None, said: str
) -> None:
    file = tmp_path / "root.json"
    if content == b"timestamp":
        content = repo.files["/metadata/timestamp.json"]
    if content == b"unsigned":
        repo.publish_root(signers=[])
        content = repo.files["/metadata/2.root.json"]
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Malformed, match=said) as caught:
        Releases(file, tmp_path, Clock(timescale.parse("")))
    assert "trusted_root must be" in str(caught.value)


async def test_a_server_that_is_away_is_reported(tmp_path: Path, repo: Repo) -> None:
    with repos.serving(repo) as server:
        gone = ref(server)
    with pytest.raises(NotFetched, match="cannot be reached"):
        await agent(tmp_path, repo).fetch(gone)


@pytest.mark.parametrize(
    "slow", [("timestamp", "METADATA_S"), ("/targets/", "IMAGE_S")], ids=lambda slow: slow[1]
)
async def test_a_server_that_trickles_is_given_up(
    tmp_path: Path,
    repo: Repo,
    server: Server,
    slow: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.trickle, patience = slow
    monkeypatch.setattr(releases, patience, 0.5)
    with pytest.raises(NotFetched, match="too slowly"):
        await agent(tmp_path, repo).fetch(ref(server))


@contextmanager
def answering_for_ever(line: bytes) -> Iterator[ReleaseRef]:
    """Listen on a port and send a line of a header again and again, or nothing."""
    ended = threading.Event()

    class Talker(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(b"HTTP/1.1 200 OK\r\n" if line else b"")
                while not ended.wait(0.05):
                    self.request.sendall(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talker) as talking:
        threading.Thread(target=talking.serve_forever, args=(0.01,)).start()
        url = f"http://127.0.0.1:{talking.server_address[1]}"
        yield ReleaseRef(machine_type=repos.PUMP, version="1.4.0", repository=url)
        ended.set()
        talking.shutdown()


async def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "GAP_S", 0.3)
    with answering_for_ever(b"") as asked, pytest.raises(NotFetched, match="too slowly"):
        await agent(tmp_path, repo).fetch(asked)


async def test_a_server_whose_headers_never_end_is_given_up_and_not_waited_for(
    tmp_path: Path, repo: Repo, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "METADATA_S", 0.3)
    monkeypatch.setattr(releases, "IMAGE_S", 0.3)
    fetching = agent(tmp_path, repo)
    with answering_for_ever(b"X") as asked:
        with pytest.raises(NotFetched, match="takes too long"):
            await fetching.fetch(asked)
        monkeypatch.setattr(releases, "IMAGE_S", 60.0)
        with pytest.raises(NotFetched, match="earlier fetch still hangs"):
            await fetching.fetch(ref(server))
    monkeypatch.setattr(releases, "METADATA_S", 60.0)
    assert (await fetching.fetch(ref(server))).image == IMAGE


async def test_a_clock_that_is_set_back_makes_nothing_fresh(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    clock = SetClock(timescale.parse(""))
    await agent(tmp_path, repo, clock).fetch(ref(server))
    # Weeks pass, python-tuf's own clock with them; then the agent's computer loses its battery.
    (tmp_path / "tuf" / "seen_s").write_text(f"{clock.wall_s() + 20 * DAY_S:.0f}")
    with pytest.raises(Refused, match="clock has been set back"):
        await agent(tmp_path, repo, clock).fetch(ref(server))
    repo.publish(days=25)
    await agent(tmp_path, repo, clock).fetch(ref(server))


async def test_the_latest_time_of_a_good_look_is_remembered(
    tmp_path: Path, repo: Repo, server: Server
) -> None:
    clock = SetClock(timescale.parse(""))
    clock.ahead_s = 0.9 * DAY_S
    await agent(tmp_path, repo, clock).fetch(ref(server))
    clock.ahead_s = 0.0
    repo.publish(days=0.5)
    with pytest.raises(Refused, match="timestamp metadata had expired"):
        await agent(tmp_path, repo, clock).fetch(ref(server))


async def test_a_disk_that_refuses_is_said(tmp_path: Path, repo: Repo, server: Server) -> None:
    (tmp_path / "tuf").write_text("in the way")
    with pytest.raises(NotFetched, match="the disk refuses"):
        await agent(tmp_path, repo).fetch(ref(server))
