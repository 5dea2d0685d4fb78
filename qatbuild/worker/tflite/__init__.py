"""The .tflite file: made from a fake-quantized frozen graph, read back, run, and compared with its graph.

convert    frozen graph -> bytes, after checks that TensorFlow's converter does not make
inspect    operators and tensors of a file; the operations that are not integer
gates      what must hold for a converted file
interpret  a file in LiteRT; latency: the time of one inference
reference  what LiteRT's reference kernels cannot compute
layers     accuracy per layer, with pairing: tensors of file and graph that hold the same values
graph      the operators as a graph, with histograms (histograms, weights) beside their grid
emulator/  the integer arithmetic of LiteRT's reference kernels in NumPy, on fixed_point
affine     the equations of affine quantization in NumPy
"""
