"""Generators of the documentation, and its tests."""
