"""Patches of a spec that may bring a refused model through its gates, tried as variants, the cheapest first."""
