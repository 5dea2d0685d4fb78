"""Mode tf1: the FakeQuants of tf.contrib.quantize, with its names, so that checkpoints of TF 1 restore.

    find_batch_norms, fold (batch_norm/)  ->  find_layers (layers)  ->  place (placement)  ->  Rewrite (rewrite)
    batch norms into weights and biases       convolution to ReLU       FakeQuant records      insertion, with `ranges`

`check` refuses a network that these ranges do not make fully integer; `contrib` has the four public functions of TF 1.
This wing imports graph/ and batch_norm/, and nothing of integer/.
"""
