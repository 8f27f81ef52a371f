"""Alembic's entry: the connection comes from the caller."""

from alembic import context

from node.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
