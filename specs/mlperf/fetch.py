"""Brings MLPerf Tiny's float networks into the folder `models` beside this file, each checked by its SHA-256.

    python specs/mlperf/fetch.py                    downloads them, 9 MB
    python specs/mlperf/fetch.py --from FOLDER      takes them from a folder, whatever their names there are

They are those of https://github.com/mlcommons/tiny, Apache-2.0.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import file_sha256
from qatbuild.worker.datasets.download import fetch

MODELS = Path(__file__).parent / "models"
_URL = "https://github.com/mlcommons/tiny/raw/1afd2c98/benchmark/training"
FILES = {
    "image_classification/trained_models/pretrainedResnet.h5": (
        "5f938a8eea605438cc7360aa13c987bc6d7bd0c8d931b2917361ae7ae4eeda2f"
    ),
    "visual_wake_words/trained_models/vww_96.h5": "af9111d50e6e85b2f2123345e0316ef1c384865ebf6b06340ddac7e66017450f",
    "keyword_spotting/trained_models/kws_ref_model/saved_model.pb": (
        "80665dd19eeb03d1152fdc098b5635261731b23478d09f6ff2166da799f98138"
    ),
    "keyword_spotting/trained_models/kws_ref_model/variables/variables.index": (
        "3f21dd9ea6736e20e70c5ed2f40ed9d8a7d12b98316ac0e4ab8f4eb7e303d738"
    ),
    "keyword_spotting/trained_models/kws_ref_model/variables/variables.data-00000-of-00001": (
        "5ebfddd34e85a2d35e87e27a8a803353534019bb460907b16db5fa72d757e8c5"
    ),
    "anomaly_detection/trained_models/ad01.h5": "651a62de1b7facd68d1269373992a2d09ffd28e6a816935d4834fcc558bde512",
    "streaming_wakeword/trained_models/str_ww_ref_model.h5": (
        "b0f267a8ba0bcb911c1098229c32fac21996e4191c9c60d1fda80adaa70a8add"
    ),
}
"""Path in the repository -> SHA-256."""


def main(arguments: Sequence[str]) -> int:
    """Bring the files; return 1 if one cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, help="a folder that has the files, under any names")
    parser.add_argument("--into", type=Path, default=MODELS, help="default: models, beside this file")
    options = parser.parse_args(arguments)
    here = {} if options.source is None else _by_checksum(options.source)
    for path, sha256 in FILES.items():
        target = options.into / path.partition("/trained_models/")[2]
        if target.is_file() and file_sha256(target) == sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if options.source is None:
            try:
                fetch(f"{_URL}/{path}", sha256, target.parent).replace(target)
            except QatbuildError as fault:
                fault.hint = "Fetch the files by other means, and take them from their folder with --from FOLDER."
                sys.stderr.write(f"{fault}\n")
                return 1
        elif sha256 in here:
            shutil.copyfile(here[sha256], target)
        else:
            sys.stderr.write(f"{options.source} has no file with the content of {path}.\n")
            return 1
        sys.stdout.write(f"{target}\n")
    return 0


def _by_checksum(folder: Path) -> dict[str, Path]:
    return {file_sha256(path): path for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
