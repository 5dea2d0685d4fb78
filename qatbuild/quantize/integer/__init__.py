"""Mode integer: FakeQuants wherever the integer runtime rounds, or a refusal.

    DataPath (path)  ->  FusedOp (fused_ops)  ->  RangePlan (range_plan)  ->  spell, fold  ->  Insertion
    input to logits      one runtime op each      FakeQuants and ranges                        FakeQuants, biases

`check` runs the first three, which only read the graph and refuse what cannot be integer; `rewrite` runs all of them,
and the first three once more when the spelling (`spelling`) has changed the graph. `insertion` uses `learning` (range
variables), `biases` (32-bit rounding), `prelu` (slopes) and `pooled` (FakeQuants behind max pools).
This wing imports graph/ and batch_norm/, and nothing of tf1/.
"""
