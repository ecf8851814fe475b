"""Alembic's environment: one connection, a lock for the time of the migrations."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from payments_hub.database_roles import statements

_LOCK = 7_052_019
"""Of advisory locks of this database; any number that nothing else uses."""

with create_engine(context.config.attributes["url"], poolclass=NullPool).connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
    connection.commit()
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
        roles = {name for (name,) in connection.execute(text("SELECT rolname FROM pg_roles"))}
        for statement in statements(roles):
            connection.execute(text(statement))
    connection.commit()
