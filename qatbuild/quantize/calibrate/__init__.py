"""Post-training quantization: ranges that are measured on data instead of learnt.

    plan_inference (modes)   ->  calibrate (calibration)   ->  the value of each range variable
    tensors that need ranges     runs the float graph, with    by name, as a checkpoint holds it
                                 one Observer per range

`observers` has the methods min_max and moving_average, `percentile` the third. This wing imports graph/ only.
"""
