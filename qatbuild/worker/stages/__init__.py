"""The stages: one file each, one public function `run(request) -> facts`.

A stage translates a request's settings, inputs and sources to the tensors and files of the other rooms, and their
results to facts (exchange.facts). It writes artifacts below `request.out`, scratch files below `request.work` and
fetched files in `request.downloads`, and nothing elsewhere. It depends on its request only: the key covers nothing
else.

    dataset   the user's archive -> files of columns       check     can the network become fully integer?
    float     columns -> float checkpoints                 freeze    graphs + checkpoints -> graphs of constants
    quantize  float checkpoint -> checkpoints with ranges  convert   frozen graph -> model.tflite
    export    the network -> inference graphs              evaluate  all of them on the test examples -> report.json
    deploy    model.tflite and graphs -> the files of one route

Not stages themselves: `learning` trains for float and quantize, `calibrate` is quantize's other method, `rewriting`
rewrites graphs for check, quantize and export, `warnings` looks at the numbers of a training; `ends` matches inputs and
outputs with the dataset's columns, `measuring` and `metric_gates` are parts of evaluate.
"""
