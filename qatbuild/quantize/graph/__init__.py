"""Shared tools of both modes: reading a graph, editing it, and the converter facts that both rely on.

    pattern      match subgraphs by structure         rewire       edit edges of a graph in place
    walk         operations reached along edges       quant_delay  switch quantization on at a training step
    names        name scopes and layer names          fake_quant   FakeQuant op types and range formulas
    layer_ops    op types of layers and batch norms   integer_ops  what the converter computes in integers
    refusals     errors raised before any edit

This wing imports none of the others.
"""
