"""Answering questions about what is held: identifier -> what the ledger can tell -> what one header tells -> matches (PS3.4 Annex C)."""
