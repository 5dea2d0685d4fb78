"""What crosses between the halves: requests, manifests, facts, errors and locks."""
