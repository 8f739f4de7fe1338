"""The migrations make the schema that the code speaks of, on both databases."""

from importlib import resources

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from cloud.adapters import database
from cloud.adapters.store import Store
from contract.errors import Refused


def test_migrations_lead_to_the_tables_of_the_code(database_url: str) -> None:
    Store(database_url).close()
    engine = database.open_engine(database_url)
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert alembic.autogenerate.compare_metadata(context, database.metadata) == []
        indexes = {index["name"]: index for index in sa.inspect(connection).get_indexes("cases")}
    engine.dispose()
    one_open = indexes["one_open_case_per_device"]
    assert one_open["unique"]
    assert str(one_open["dialect_options"][f"{engine.dialect.name}_where"]) == "open"


def test_the_comparison_sees_a_difference(database_url: str) -> None:
    Store(database_url).close()
    engine = database.open_engine(database_url)
    changed = sa.MetaData()
    for table in database.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["assets"].append_column(sa.Column("colour", sa.Text))
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, changed)
    engine.dispose()


def test_a_newer_database_is_refused_and_left_alone(database_url: str) -> None:
    Store(database_url).close()
    engine = database.open_engine(database_url)
    with database.transaction(engine, writes=True) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Refused, match="newer version"):
        Store(database_url)
    with engine.connect() as connection:
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    assert version == "9999"
    engine.dispose()


def test_migrations_are_part_of_the_package() -> None:
    versions = resources.files("cloud.adapters") / "migrations" / "versions"
    assert any(entry.name.startswith("v0001") for entry in versions.iterdir())


def test_a_wrong_statement_is_a_bug_and_no_weather(database_url: str) -> None:
    engine = database.open_engine(database_url)
    with pytest.raises(sa.exc.DBAPIError), database.transaction(engine, writes=False) as connection:
        connection.execute(sa.text("SELECT * FROM no_such_table"))
    engine.dispose()
