"""Alembic runs this for every command; the connection comes from the caller."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # SQLite can, too, when sqlite3 does not begin on its own
)
context.run_migrations()
