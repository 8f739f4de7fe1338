"""A fresh database of each kind that the store speaks."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database: SQLite, then PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'cases.db'}"
        return
    server = sa.make_url(request.getfixturevalue("postgres_url"))
    # A schema of its own is as good as a database of its own, and made in a thousandth of the time.
    schema = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own = server.update_query_dict({"options": f"-csearch_path={schema}"})
    yield own.render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture
def settle(database_url: str) -> Callable[[], None]:
    """Wait until the server has ended what a client that was killed had asked for last."""

    def wait() -> None:
        if database_url.startswith("sqlite"):
            return  # its writers are the clients themselves
        engine = sa.create_engine(database_url)
        with engine.begin() as connection:  # behind every commit that is still under way
            connection.execute(sa.text("LOCK TABLE cases, repository IN ACCESS EXCLUSIVE MODE"))
        engine.dispose()

    return wait
