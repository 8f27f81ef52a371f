"""Bundles that tests write: small ones with one fault each, and equivalents of those that MONAI's Model Zoo publishes."""
