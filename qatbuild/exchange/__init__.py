"""Data and errors that cross between the halves: requests, manifests, facts, errors and locks."""
