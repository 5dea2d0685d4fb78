"""The dataset stage: verified columns of three splits in files that can be read in any order, and their statistics."""

from __future__ import annotations

from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import datasets
from qatbuild.worker.datasets import holdout
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.datasets.store import Store
from qatbuild.worker.training import log


def run(request: Request) -> DatasetFacts:
    """Loads the dataset, holds out validation examples, writes a file SPLIT/NAME.npy for each column.

    Each is an array [examples, *shape] of uint8 (0..255), int32 or float32; pictures are stored encoded where that is
    smaller. Equal data make equal bytes. The statistics are those of the training examples without the held-out ones.

    DatasetError if the data are missing, damaged or of another kind, or the disk has no room for the files.
    """
    data = request.sources.get("data")
    source = Source.of(request.settings["dataset"], data.path if data else None)
    dataset = datasets.load(source, request.downloads)
    parts, notes = holdout.parts(dataset, source)
    store = Store(request.out, dataset)
    for split, part in parts.items():
        store.write(split, part)
    facts = store.facts((*dataset.notes, *notes))._replace(labelled=source.labels)
    for note in facts.notes:
        log.write(note)
    return facts
