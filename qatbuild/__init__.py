"""qatbuild: doit for quantized models. See README.md for the tour."""
