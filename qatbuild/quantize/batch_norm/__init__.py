"""Batch norms: finding, folding and freezing them."""
