"""How fast networks train: qatbuild's own steps beside tfmot's, and two trainings beside each other.

`python -m tests.benchmarks.training`; see __main__.py.
"""
