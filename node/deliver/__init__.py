"""The courier: what is owed is sent, and what the destination said is written down."""
