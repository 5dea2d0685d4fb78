"""The stages: one file each, one public function `run(request) -> facts`.

A stage translates: from a request's settings, inputs and sources to the tensors and files that the other rooms know,
and from what they found to facts. It writes what is to be published below `request.out`, what only it needs below
`request.work`, what it fetched in `request.downloads`, and nothing else anywhere. It finds all that it depends on in
the request, for only that is in the key.

    dataset   the user's archive -> dataset.npz            check     can the network become fully integer?
    float     dataset.npz -> float checkpoints             freeze    graphs + checkpoints -> graphs of constants
    quantize  float checkpoint -> checkpoints with ranges  convert   frozen graph -> model.tflite
    export    the network -> inference graphs              evaluate  all of them on the test images -> report.json

`learning` holds what float and quantize have in common.
"""
