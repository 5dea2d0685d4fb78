"""The commands of `doit` besides building, one per file, registered as doit's entry points."""
