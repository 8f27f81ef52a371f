"""Malformed, damaged and hostile input against a real listener: ``python -m tests.fuzz --help``."""
