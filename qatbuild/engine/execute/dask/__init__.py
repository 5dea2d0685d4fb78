"""Runs requests in the workers of a Dask cluster."""
