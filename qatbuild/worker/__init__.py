"""One process, one stage: what runs below a request, with TensorFlow."""
