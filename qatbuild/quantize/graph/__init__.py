"""Editing a graph: patterns, rewiring, the quantization delay."""
