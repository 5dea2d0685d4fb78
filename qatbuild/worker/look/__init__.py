"""A look at the user's data and network before a spec names them, in a process of its own and without a request."""
