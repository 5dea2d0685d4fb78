"""Ranges measured on data instead of learnt."""
