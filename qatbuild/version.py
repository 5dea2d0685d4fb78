"""The version, in a module of its own: a new one must not make every stage's code look changed."""

__version__ = "0.1.0"
