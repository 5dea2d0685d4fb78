"""From a fake-quantized frozen graph to a fully integer .tflite, and back again to see what it really is."""
