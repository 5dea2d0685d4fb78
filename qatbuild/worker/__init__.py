"""Runs one stage in one process, with TensorFlow."""
