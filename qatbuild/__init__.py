"""qatbuild: doit for quantized models. See README.md for the tour."""

__version__ = "0.1.0"
