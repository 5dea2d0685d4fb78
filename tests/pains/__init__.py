"""The twenty complaints of docs/pains.md, each built for real."""
