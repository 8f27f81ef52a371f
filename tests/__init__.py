"""The tests of RadNode."""
