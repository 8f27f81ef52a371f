"""The ledger: all our state, and the audit log that explains it. The only home of SQLAlchemy and Alembic.

``instances``, ``studies``, ``jobs`` and ``outbox`` hold the functions that change a state; each writes its audit row in
the same transaction, and no other function may change a state. ``views`` only reads.
"""
