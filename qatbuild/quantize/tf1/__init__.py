"""Mode tf1: the FakeQuants of tf.contrib.quantize, with their names."""
