"""Pictures whose pixels would take more room than their files are stored as these, and decoded when they are read."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.dataset_facts import DatasetFacts, Statistics
from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import ArtifactError, DatasetError
from qatbuild.worker.datasets import encoded, threads
from qatbuild.worker.datasets.examples import Examples, opened
from qatbuild.worker.datasets.pictures import decode, pixels
from qatbuild.worker.stages import dataset
from tests.datasets.conftest import MakeRequest, column

COUNT = 30


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth JPEG of 64x80, all different: 30 for training, 5 for the test."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(COUNT + 5):
        small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        path = folder / ("train" if number < COUNT else "test") / "only" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((80, 64), Image.Resampling.BICUBIC).save(path, quality=80)
    return folder


def read(make_request: MakeRequest, folder: Path, **fields: Any) -> tuple[Path, DatasetFacts, Examples]:
    """The stage's folder, its facts as a later stage reads them, and the training examples."""
    request = make_request("images", folder, **{"validation": 0, **fields})
    facts = DatasetFacts.of(json.loads(json.dumps(dataset.run(request).to_json())))
    return request.out, facts, opened(request.out, "train", facts)


def contents(photographs: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((photographs / "train" / "only").iterdir())]


@pytest.mark.parametrize(("fields", "decoding"), [({}, Decoding()), ({"size": [48, 48]}, Decoding("crop"))])
def test_pixels_are_those_of_the_files_in_any_order(
    make_request: MakeRequest, photographs: Path, fields: dict[str, Any], decoding: Decoding
) -> None:
    _, facts, train = read(make_request, photographs, **fields)
    shape = (48, 48, 3) if fields else (64, 80, 3)
    assert facts.columns["images"].decoding == decoding
    assert facts.columns["images"].shape == shape
    wanted = np.stack([pixels(decode(content, shape, decoding)[0]) for content in contents(photographs)])
    index = np.random.default_rng(3).integers(0, COUNT, 100)
    assert np.array_equal(train.read(index)["images"], wanted[index])
    assert np.array_equal(np.concatenate([batch["images"] for batch in train.batches(7)]), wanted)
    statistics = facts.columns["images"].statistics
    assert isinstance(statistics, Statistics)
    assert statistics.mean_all == round(wanted.mean(), 4)
    assert statistics.std == tuple(np.round(wanted.std((0, 1, 2)), 4).tolist())


def test_no_more_is_written_than_the_files_hold_and_the_places_of_the_pictures(
    make_request: MakeRequest, photographs: Path
) -> None:
    out, _, _ = read(make_request, photographs)
    assert (out / "train" / "images.encoded").read_bytes() == b"".join(contents(photographs))
    assert np.load(out / "train" / "images.offsets.npy").shape == (COUNT + 1,)
    assert not (out / "train" / "images.npy").exists()


def test_pictures_that_are_larger_encoded_are_stored_as_pixels(make_request: MakeRequest, photographs: Path) -> None:
    out, facts, train = read(make_request, photographs, size=[8, 8])
    assert facts.columns["images"].decoding is None
    assert np.load(out / "train" / "images.npy").shape == (COUNT, 8, 8, 3)
    wanted = pixels(decode(contents(photographs)[3], (8, 8, 3), Decoding("crop"))[0])
    assert np.array_equal(train.read(np.array([3]))["images"][0], wanted)


def test_validation_is_held_out_and_all_splits_are_decoded(make_request: MakeRequest, photographs: Path) -> None:
    request = make_request("images", photographs, validation=0.2)
    facts = dataset.run(request)
    assert facts.counts == {"train": 24, "validation": 6, "test": 5}
    shapes = [column(request, facts, split, "images").shape[0] for split in facts.counts]
    assert shapes == [24, 6, 5]


def test_result_does_not_depend_on_the_number_of_threads(
    make_request: MakeRequest, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several, _, train = read(make_request, photographs, size=[48, 48])
    images = train.read(np.arange(COUNT))["images"]
    monkeypatch.setattr(threads, "cores", lambda: 1)
    threads.pool.cache_clear()
    lone, _, train = read(make_request, photographs, size=[48, 48])
    threads.pool.cache_clear()
    assert np.array_equal(train.read(np.arange(COUNT))["images"], images)
    for name in ("images.encoded", "images.offsets.npy", "labels.npy"):
        assert (several / "train" / name).read_bytes() == (lone / "train" / name).read_bytes()


def test_descriptors_are_as_many_after_reading_as_before(make_request: MakeRequest, photographs: Path) -> None:
    _, _, train = read(make_request, photographs)
    gc.collect()  # Files that tests before this one have left to it.
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in train.batches(4):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_files_that_were_shortened_are_named(make_request: MakeRequest, photographs: Path) -> None:
    out, facts, _ = read(make_request, photographs)
    path, offsets = encoded.paths(out / "train", "images")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ArtifactError, match="not as its facts say"):
        opened(out, "train", facts)
    path.write_bytes(whole[:-9] + bytes(9))
    train = opened(out, "train", facts)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(ArtifactError, match="cannot be decoded"):
        train.read(np.array([1]))
    offsets.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        opened(out, "train", facts)


def test_what_a_thread_raises_is_raised_in_order_and_the_rest_is_dropped() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 3:
            raise DatasetError("the fourth")
        return number

    with pytest.raises(DatasetError, match="the fourth"):
        done.extend(threads.in_order(work, iter(range(1000))))
    assert list(threads.in_order(work, [4, 5, 6])) == [4, 5, 6]


def test_few_results_wait_to_be_taken() -> None:
    taken = iter(range(1000))
    results = threads.in_order(lambda each: each, taken)
    next(results)
    assert next(taken) < 100
    results.close()
