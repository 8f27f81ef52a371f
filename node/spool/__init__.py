"""Bytes at rest, behind put_atomic, settle, path, list and delete."""
