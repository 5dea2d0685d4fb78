"""Training in a TF1-style graph: arrays and a network in, checkpoints and event files out.

Law: a training is a function of its arrays, its recipe and its seed. The order of examples, augmentation, dropout
and learning rate are each computed from (seed, step) and from nothing that lives in between, so a training that was
killed goes on from its last saved step and ends in the same bytes as one that was not.

    inference  the network as a graph without training; what is checked, validated, exported
    graph      the network as a graph that learns: loss, optimizer, fake quantization
    schedule   learning rate of a step                optimizer  the TF1 optimizers by name
    batches    examples of a step, augmented          prefetch   the same, made ahead in a thread
    checkpoint published and restored by name         resume     the state that survives a kill
    events     what TensorBoard shows                 validation top-1 of a checkpoint
    curve      the losses of a training, in few points  loop       the loop itself
"""
