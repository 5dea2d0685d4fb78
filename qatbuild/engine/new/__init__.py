"""A first spec for the user's own data and network: what it says, and why, and its file."""
