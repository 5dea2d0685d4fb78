"""TFRecords of tf.train.Example: TF-Slim's and TFDS's files, features of any name, compressed or not, in shards."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.pictures import decode, pixels
from qatbuild.worker.datasets.tfrecord_records import Records
from qatbuild.worker.stages import dataset
from tests.datasets.conftest import MakeRequest, column, load, rows
from tests.hints import follows


def feature(values: Any) -> tf.train.Feature:
    array = [values] if isinstance(values, bytes | int | float) else list(values)
    if array and isinstance(array[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=array))
    if array and isinstance(array[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=array))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=array))


def write(path: Path, examples: Sequence[Mapping[str, Any]], compression: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type=compression)) as file:
        for each in examples:
            features = tf.train.Features(feature={name: feature(values) for name, values in each.items()})
            file.write(tf.train.Example(features=features).SerializeToString())
    return path


def jpeg(number: int, size: tuple[int, int] = (48, 40)) -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def slim(number: int) -> dict[str, Any]:
    return {
        "image/encoded": jpeg(number),
        "image/format": b"jpeg",
        "image/class/label": number % 2,
        "image/height": 40,
        "image/width": 48,
    }


Slim = Callable[[str], Path]


@pytest.fixture
def flowers(tmp_path: Path) -> Slim:
    """TF-Slim's layout: ten training examples in two shards, four for validation, labels.txt."""

    def make(compression: str = "") -> Path:
        folder = tmp_path / f"flowers{compression}"
        for shard in range(2):
            examples = [slim(number) for number in range(5 * shard, 5 * shard + 5)]
            write(folder / f"flowers_train_0000{shard}-of-00002.tfrecord", examples, compression)
        write(folder / "flowers_validation_00000-of-00001.tfrecord", [slim(number) for number in (20, 21, 22, 23)])
        (folder / "labels.txt").write_text("0:daisy\n1:dandelion\n")
        return folder

    return make


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_slims_files_are_read_whatever_their_compression(
    make_request: MakeRequest, flowers: Slim, compression: str
) -> None:
    request = make_request("tfrecord", flowers(compression), splits={"train": "train", "test": "validation"})
    facts = dataset.run(request)
    assert facts.columns["labels"].class_names == ("daisy", "dandelion")
    assert facts.columns["images"].decoding == Decoding()
    assert facts.counts == {"train": 9, "validation": 1, "test": 4}
    images = [column(request, facts, split, "images") for split in ("train", "validation")]
    wanted = [pixels(decode(jpeg(number), (40, 48, 3), Decoding())[0]).tobytes() for number in range(10)]
    assert sorted(image.tobytes() for part in images for image in part) == sorted(wanted)
    assert column(request, facts, "test", "labels").tolist() == [0, 1, 0, 1]
    sizes = [len(jpeg(number)) for number in (20, 21, 22, 23)]
    assert (request.out / "test" / "images.encoded").stat().st_size == sum(sizes)


def test_tfds_files_are_read_and_pictures_resized(make_request: MakeRequest, tmp_path: Path) -> None:
    folder = tmp_path / "mnist" / "3.0.1"
    for split in ("train", "test"):
        examples = [{"image": jpeg(number, (48, 40 + number)), "label": number % 3} for number in range(6)]
        write(folder / f"mnist-{split}.tfrecord-00000-of-00001", examples)
    (folder / "label.labels.txt").write_text("zero\none\ntwo\n")
    (folder / "dataset_info.json").write_text("{}")
    facts = dataset.run(make_request("tfrecord", folder, size=[16, 16], validation=0))
    assert facts.columns["labels"].class_names == ("zero", "one", "two")
    assert facts.columns["images"].shape == (16, 16, 3)
    assert facts.conversions == {"resized (crop)": 12}
    with pytest.raises(DatasetError, match="differ in size"):
        load("tfrecord", folder)


FEATURES = {
    "images": {"feature": "image", "kind": "picture"},
    "boxes": {"feature": "objects/bbox", "kind": "float", "shape": [-1, 4]},
    "classes": {"feature": "objects/label", "kind": "int", "shape": [-1]},
    "sound": {"feature": "raw", "kind": "bytes", "shape": [2, 3]},
    "pose": {"feature": "pose", "kind": "float", "shape": [3]},
    "age": {"feature": "age", "kind": "int"},
}


def scene(number: int, objects: int) -> dict[str, Any]:
    return {
        "image": jpeg(number),
        "objects/bbox": [0.1 * number + 0.01 * place for place in range(4 * objects)],
        "objects/label": [place % 2 for place in range(objects)],
        "raw": bytes(range(6)),
        "pose": [1.0, 2.0, 3.0],
        "age": 30 + 5 * number,
    }


def test_what_varies_in_number_is_padded_to_the_most_of_all_splits(tmp_path: Path) -> None:
    write(tmp_path / "f" / "train.tfrecord", [scene(0, 1), scene(1, 0), scene(2, 2)])
    write(tmp_path / "f" / "test.tfrecord", [scene(3, 3)])
    data = load("tfrecord", tmp_path / "f", features=FEATURES, downloads=tmp_path)
    assert rows(data, "train", "classes").tolist() == [[0, -1, -1], [-1, -1, -1], [0, 1, -1]]
    boxes = rows(data, "train", "boxes")
    assert boxes.shape == (3, 3, 4)
    assert boxes[1].tolist() == np.zeros((3, 4)).tolist()
    assert boxes[2, 1] == pytest.approx([0.24, 0.25, 0.26, 0.27])
    assert rows(data, "test", "sound").tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert rows(data, "train", "pose").tolist() == [[1, 2, 3]] * 3
    assert rows(data, "train", "age").tolist() == [30, 35, 40]
    assert data.class_names == {"classes": ("0", "1")}


def changed(**features: Any) -> dict[str, Any]:
    return {name: values for name, values in {**scene(1, 1), **features}.items() if values is not None}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"age": None}, "only image, objects/bbox"),
    "another kind": ({"age": 1.5}, "found float expected int"),
    "another count": ({"pose": [1.0, 2.0]}, "found 2 expected 3, for the shape [3]"),
    "part of a box": ({"objects/bbox": [1.0, 2.0, 3.0]}, "found 3 expected a multiple of 4"),
    "too few bytes": ({"raw": b"abc"}, "found 3 expected 6"),
    "not finite": ({"pose": [1.0, float("nan"), 3.0]}, "found nan"),
    "too large": ({"age": 2**40}, str(2**40)),
    "no picture": ({"image": b"<html>"}, "not a picture"),
    "several pictures": ({"image": [b"a", b"b"]}, "found 2 expected 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_feature_that_does_not_fit_is_named_with_its_record(tmp_path: Path, case: str) -> None:
    features, reason = BAD[case]
    write(tmp_path / "f" / "train.tfrecord", [scene(0, 1), changed(**features)])
    with pytest.raises(DatasetError) as caught:
        load("tfrecord", tmp_path / "f", features=FEATURES)
    text = " ".join(str(caught.value).split())
    assert "train.tfrecord" in text
    assert "record 1" in text
    assert reason in text


def test_unknown_features_are_listed_and_read_once_they_are_named(tmp_path: Path) -> None:
    write(tmp_path / "f" / "train.tfrecord", [{"photo": jpeg(0), "kind": 0, "box": [0.0, 1.0]}])
    with pytest.raises(DatasetError) as caught:
        load("tfrecord", tmp_path / "f")
    text = " ".join(str(caught.value).split())
    assert "box: float [2] kind: int photo: bytes" in text
    assert follows("Name each array's feature: ") in caught.value.hint
    features = {"images": {"feature": "photo", "kind": "picture"}, "labels": {"feature": "kind", "kind": "int"}}
    assert load("tfrecord", tmp_path / "f", features=features).count("train") == 1
    assert list(load("tfrecord", tmp_path / "f", features=features, labels=False).splits["train"]) == ["images"]


def test_label_beyond_the_names_is_an_error(flowers: Slim) -> None:
    folder = flowers("")
    write(folder / "flowers_validation_00000-of-00001.tfrecord", [{**slim(1), "image/class/label": 2}])
    with pytest.raises(DatasetError, match="the label 2"):
        load("tfrecord", folder)


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_truncated_file_is_named_with_the_record(flowers: Slim, compression: str) -> None:
    file = flowers(compression) / "flowers_train_00001-of-00002.tfrecord"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with pytest.raises(DatasetError, match=r"flowers_train_00001[\s\S]*record +4") as caught:
        load("tfrecord", file.parent)
    assert follows("Fetch or write it again; a TFRecord file may be compressed") in caught.value.hint
    file.write_bytes(whole)
    assert load("tfrecord", file.parent, downloads=file.parent).count("train") == 10


def test_flipped_bit_is_found_by_the_checksum(flowers: Slim) -> None:
    file = flowers("") / "flowers_train_00000-of-00002.tfrecord"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"flowers_train_00000[\s\S]*corrupted record"):
        load("tfrecord", file.parent)


@pytest.mark.parametrize("content", [b"no record at all", b"\x1f\x8bno gzip", b"x"])
def test_file_that_is_no_tfrecord_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.tfrecord").write_bytes(content)
    with pytest.raises(DatasetError, match=r"no TFRecord file[\s\S]*train\.tfrecord"):
        load("tfrecord", tmp_path / "train.tfrecord")


def test_record_that_is_no_example_is_named(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "train.tfrecord")) as file:
        file.write(b"\xff\xff no protocol buffer")
    with pytest.raises(DatasetError, match=r"no tf\.train\.Example"):
        load("tfrecord", tmp_path)


def test_missing_shard_and_files_of_no_split_are_named(flowers: Slim) -> None:
    folder = flowers("")
    (folder / "flowers_train_00000-of-00002.tfrecord").unlink()
    with pytest.raises(DatasetError, match="no flowers_train_00000-of-00002"):
        load("tfrecord", folder)
    (folder / "flowers_train_00001-of-00002.tfrecord").unlink()
    with pytest.raises(DatasetError, match="no files for training") as caught:
        load("tfrecord", folder)
    assert follows("Name the files after their splits, as train-00000-of-00010") in caught.value.hint
    write(folder / "train-00000-of-00001", [slim(0)])
    assert load("tfrecord", folder).count("train") == 1


def test_a_lone_file_is_for_training_and_an_empty_one_is_an_error(make_request: MakeRequest, tmp_path: Path) -> None:
    file = write(tmp_path / "all.tfrecord", [slim(number) for number in range(10)])
    assert dataset.run(make_request("tfrecord", file, test=0.2)).counts == {"train": 7, "validation": 1, "test": 2}
    file.write_bytes(b"")
    with pytest.raises(DatasetError, match="no example"):
        load("tfrecord", file)


def test_records_are_read_in_any_order(flowers: Slim, tmp_path: Path) -> None:
    for compression in ("", "GZIP"):
        files = sorted(flowers(compression).glob("*train*"))
        records = Records(files, tmp_path)
        whole = [record for _, record in records.verify()]
        assert [records.read(number) for number in (9, 0, 5, 4)] == [whole[number] for number in (9, 0, 5, 4)]


def test_a_folder_that_follows_the_hint_is_read(flowers: Slim) -> None:
    with pytest.raises(DatasetError) as caught:
        load("tfrecord")
    assert follows('Give "path": the folder with the files, or one file') in caught.value.hint
    assert load("tfrecord", flowers("")).count("train") == 10
