"""Training is deterministic, and a killed training ends in the same bytes as one that was not."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.worker.training.batches import Batch, Batches
from qatbuild.worker.training.resume import Progress, Resume
from tests.hints import follows
from tests.training.reading import CHECKPOINT_FILES, scalars, tensors

pytestmark = pytest.mark.tf

Learn = Callable[..., Progress]


def _state(folder: Path, step: int) -> dict[str, bytes]:
    return tensors(folder / "state" / f"full.ckpt-{step}")


def _killed_at(kill: int) -> Callable[[Batches], Callable[[int], Batch]]:
    def wrap(batches: Batches) -> Callable[[int], Batch]:
        def make(step: int) -> Batch:
            if step == kill:
                raise RuntimeError("killed")
            return batches(step)

        return make

    return wrap


@pytest.mark.parametrize("quantized", [False, True])
def test_two_runs_give_byte_identical_checkpoints(learn: Learn, tmp_path: Path, *, quantized: bool) -> None:
    for run in ("one", "other"):
        learn(tmp_path / run, quantized=quantized)
    assert _state(tmp_path / "one", 12) == _state(tmp_path / "other", 12)
    names = {path.name for path in (tmp_path / "one/out").glob("model.*")}
    assert names == {f"model.ckpt-{step}{end}" for step in (5, 10, 12) for end in CHECKPOINT_FILES}
    for name in names:
        assert (tmp_path / "one/out" / name).read_bytes() == (tmp_path / "other/out" / name).read_bytes()


def test_another_seed_gives_other_weights(learn: Learn, tmp_path: Path) -> None:
    for seed in (1, 2):
        learn(tmp_path / str(seed), steps=1, seed=seed)
    one, other = (tensors(tmp_path / str(seed) / "out/model.ckpt-1") for seed in (1, 2))
    assert one["DigitsNet/conv1/weights"] != other["DigitsNet/conv1/weights"]


@pytest.mark.parametrize(("quantized", "optimizer"), [(False, "adam"), (True, "momentum")])
def test_killed_training_ends_in_the_same_bytes(learn: Learn, tmp_path: Path, quantized: bool, optimizer: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings: dict[str, Any] = {"quantized": quantized, "optimizer": optimizer, "measure": lambda _: {"top1": 50.0}}
    expected = learn(whole, **settings)
    with pytest.raises(RuntimeError, match="killed"):
        learn(killed, wrap=_killed_at(8), **settings)
    assert learn(killed, **settings) == expected
    state = _state(killed, 12)
    assert state == _state(whole, 12)
    assert any("Adam" in name or "Momentum" in name for name in state), "the optimizer's slots are part of the state"
    assert tensors(killed / "out/model.ckpt-5") == tensors(whole / "out/model.ckpt-5")


def test_resumed_training_repeats_only_the_steps_after_its_last_checkpoint(learn: Learn, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        learn(tmp_path, wrap=_killed_at(8))
    asked: list[int] = []

    def noting(batches: Batches) -> Callable[[int], Any]:
        def at(step: int) -> Any:
            asked.append(step)
            return batches(step)

        return at

    learn(tmp_path, wrap=noting)
    assert asked == list(range(5, 12))


def test_sigterm_saves_the_state_between_two_steps(learn: Learn, tmp_path: Path) -> None:
    def terminated(batches: Batches) -> Callable[[int], Batch]:
        def make(step: int) -> Batch:
            if step == 3:
                signal.raise_signal(signal.SIGTERM)
            return batches(step)

        return make

    learn(tmp_path / "whole", steps=400, every=400)
    with pytest.raises(SystemExit) as stopped:
        learn(tmp_path / "killed", steps=400, every=400, wrap=terminated)
    assert stopped.value.code == 128 + signal.SIGTERM
    saved = Resume(tmp_path / "killed/state").load()
    assert saved is not None
    assert 0 < saved.step < 400
    learn(tmp_path / "killed", steps=400, every=400)
    assert _state(tmp_path / "killed", 400) == _state(tmp_path / "whole", 400)


@pytest.mark.parametrize("damage", ["state.json", "full.ckpt-5.data-00000-of-00001", "model.ckpt-5.index"])
def test_damaged_state_is_discarded_with_a_line(
    learn: Learn, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    with pytest.raises(RuntimeError):
        learn(tmp_path, wrap=_killed_at(8))
    damaged = tmp_path / "state" / damage
    damaged.write_bytes(damaged.read_bytes()[:-1])
    learn(tmp_path)
    assert "it begins anew" in capfd.readouterr().out
    assert (tmp_path / "out/model.ckpt-12.index").exists()


def test_published_checkpoint_has_network_ranges_and_step_and_no_slots(learn: Learn, tmp_path: Path) -> None:
    learn(tmp_path, quantized=True)
    published = tensors(tmp_path / "out/model.ckpt-12")
    layers = ["conv1", "conv2_depthwise", "conv2_pointwise", "fc3", "logits"]
    weights = {f"DigitsNet/{name}/{'depthwise_weights' if 'depthwise' in name else 'weights'}" for name in layers}
    biases = {f"DigitsNet/{name}/biases" for name in layers}
    quants = [f"DigitsNet/{name}/{quant}_quant" for name in layers for quant in ("weights", "act")]
    ranges = {f"{name}/{end}" for name in quants for end in ("min", "max")}
    assert set(published) == weights | biases | ranges | {"global_step"}
    assert np.frombuffer(published["global_step"], np.int64) == 12


def _best_at_2(prefix: Path) -> dict[str, float]:
    return {"top1": 90.0 if prefix.name.endswith("-2") else 10.0}


def test_every_checkpoint_is_kept_for_any_of_them_may_be_frozen(learn: Learn, tmp_path: Path) -> None:
    progress = learn(tmp_path, steps=14, every=1, measure=_best_at_2)
    assert progress.best == 2
    assert progress.kept == [*range(1, 15)]
    kept = {f"model.ckpt-{step}" for step in progress.kept}
    assert {path.stem for path in (tmp_path / "out").glob("*.index")} == kept


def test_best_is_the_earliest_of_the_highest() -> None:
    progress = Progress()
    for step, top1 in ((1, 50.0), (2, 60.0), (3, 60.0)):
        progress.keep(step, {"top1": top1})
    assert progress.best == 2


def test_of_an_error_the_best_is_the_earliest_of_the_lowest() -> None:
    progress = Progress(better={"mae": "lower", "r2": "higher"})
    for step, mae in ((1, 0.5), (2, 0.25), (3, 0.25), (4, 0.75)):
        progress.keep(step, {"mae": mae, "r2": mae})
    assert (progress.metric, progress.best) == ("mae", 2)


def test_a_resumed_training_still_takes_the_lowest_error(learn: Learn, tmp_path: Path) -> None:
    def measure(prefix: Path) -> dict[str, float]:
        return {"mae": 0.1 if prefix.name.endswith("-5") else 0.9}

    with pytest.raises(RuntimeError):
        learn(tmp_path, wrap=_killed_at(8), measure=measure, better={"mae": "lower"})
    progress = learn(tmp_path, measure=measure, better={"mae": "lower"})
    assert (progress.kept, progress.best) == ([5, 10, 12], 5)


def test_diverged_training_names_step_and_learning_rate_with_a_hint(learn: Learn, tmp_path: Path) -> None:
    with pytest.raises(StageError) as refused:
        learn(tmp_path, rate=1e30)
    facts = dict(refused.value.facts)
    assert int(facts["step"]) >= 2
    assert float(facts["learning rate"]) > 1e29
    assert follows("Lower learning_rate.initial (a tenth of it is a good guess)") in refused.value.hint
    assert learn(tmp_path / "lower", rate=0.1)


def test_events_have_loss_rate_speed_validation_and_ranges_after_a_resume_too(learn: Learn, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"quantized": True, "measure": lambda _: {"top1": 75.0}}
    with pytest.raises(RuntimeError):
        learn(tmp_path, wrap=_killed_at(8), **settings)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)  # as a worker does before it runs a stage again
    learn(tmp_path, **settings)
    rows = scalars(tmp_path / "out/events")
    assert [step for step, _ in rows["loss"]] == [3, 6, 9, 12]
    assert [step for step, _ in rows["validation_top1"]] == [5, 10, 12]
    assert rows["learning_rate"][0][1] == pytest.approx(0.05, rel=1e-2)
    assert {"steps_per_second", "ranges/DigitsNet/conv1/act_quant/max"} <= set(rows)
    assert sum(tag.startswith("ranges/") for tag in rows) == 2 * 10
    assert all(value > 0 for _, value in rows["ranges/DigitsNet/conv1/act_quant/max"])


def test_checkpoint_that_cannot_be_written_is_named(learn: Learn, tmp_path: Path) -> None:
    def blocked(batches: Batches) -> Callable[[int], Batch]:
        def make(step: int) -> Batch:
            (tmp_path / "state/model.ckpt-5.index/a folder instead of a file").mkdir(parents=True, exist_ok=True)
            return batches(step)

        return make

    with pytest.raises(StageError, match="checkpoint cannot be written") as refused:
        learn(tmp_path, wrap=blocked)
    assert dict(refused.value.facts)["file"].endswith("model.ckpt-5")
