"""Generators of the documentation, and the checks that it is right."""
