"""The database's schema, revision by revision, for SQLite and PostgreSQL."""
