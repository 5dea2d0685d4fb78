"""What `doit` can do besides building: one command a file, each found through doit's entry points."""
