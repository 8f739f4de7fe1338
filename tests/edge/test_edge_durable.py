"""What the agent keeps about releases survives its death and power cuts at any moment."""

import shutil
import threading
import time
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp
from tuf.ngclient import Updater

from edge.adapters import durable, repository
from edge.adapters.web import Web
from tests.edge import repo as repos
from tests.edge.repo import IMAGE, Repo, Server, ref
from tests.sim import cutting


def test_a_file_is_old_or_new_wherever_a_write_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "seen_s"
    durable.write(file, b"1795330800")
    for _ in cutting.at_every_byte(lambda: durable.write(file, b"1795330801")):
        assert file.read_bytes() == b"1795330800"
    assert file.read_bytes() == b"1795330801"
    for _ in cutting.at_every_line(
        lambda: durable.write(file, b"1795330802"), durable.write.__code__, durable.sync.__code__
    ):
        assert file.read_bytes() in {b"1795330801", b"1795330802"}
    assert file.read_bytes() == b"1795330802"


def take(repo: Repo, server: Server, folder: Path) -> bytes:
    stop = threading.Event()
    asked = ref(server)
    found = repository.find(repo.trusted, folder, asked, Web(20, stop), time.time())  # noqa: TID251 - the wall clock is meant
    return repository.download(found, folder / "images", asked, Web(20, stop))


def test_an_agent_that_dies_at_any_line_of_a_fetch_keeps_what_it_knew_and_goes_on(
    tmp_path: Path,
) -> None:
    repo = Repo()
    repo.add("1.3.0", b"old")
    repo.publish()
    known, folder = tmp_path / "known", tmp_path / "tuf"
    with repos.serving(repo) as server:
        stop = threading.Event()
        first = ref(server, "1.3.0")
        repository.find(repo.trusted, known, first, Web(20, stop), time.time())  # noqa: TID251 - likewise
        repo.add("1.4.0")
        repo.publish()

        def fetch_anew() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(known, folder, symlinks=True)
            assert take(repo, server, folder) == IMAGE

        codes = [
            Updater._persist_file.__code__,
            repository._check_age.__code__,
            repository._fetch_rest.__code__,
        ]
        versions = set()
        for _ in cutting.at_every_line(fetch_anew, *codes):
            timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json"))
            versions.add(timestamp.signed.version)
            assert take(repo, server, folder) == IMAGE
            assert not list(folder.glob("tmp*")), "what a kill left behind is cleared away"
        assert versions == {1, 2}, "some cuts come before the new state is known, some after"
