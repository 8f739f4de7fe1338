"""Steps from an empty database to the newest schema; see `cloud.adapters.database.migrate`."""
