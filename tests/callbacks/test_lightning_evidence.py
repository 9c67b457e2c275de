"""The Lightning callback with probes, with the training log, and anchored to true accuracies."""

from __future__ import annotations

import lightning.pytorch as root
import pytest
import torch

from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience
from tests.callbacks.lightning_runs import KEY, QUIET, fit, loader, make_network, saver
from tests.callbacks.scripted import (
    Informed,
    Sampled,
    Scripted,
    ours_among,
    random_states,
    raw_accuracy,
    seed_all,
)

pytestmark = pytest.mark.filterwarnings(*QUIET)


class Measuring(type(make_network(root))):
    """Logs its accuracies, that on validation data in one of two places."""

    where, train_name = "step", "train_acc"

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []
        self.truths: list[float] = []

    def accuracy(self, batch):
        return (self.net(batch[0]).argmax(1) == batch[1]).float().mean()

    def training_step(self, batch, index):
        if self.train_name is not None:
            share = self.accuracy(batch)
            self.log(self.train_name, share, on_step=False, on_epoch=True, logger=False)
        return super().training_step(batch, index)

    def validation_step(self, batch, index):
        self.found.append(float(self.accuracy(batch)))
        if self.where == "step":
            self.log("val_acc", self.found[-1], logger=False)
        super().validation_step(batch, index)

    def on_validation_epoch_end(self):
        self.truths.append(sum(self.found) / len(self.found))
        if self.where == "end":
            self.log("val_acc", self.truths[-1], logger=False)
        self.found.clear()


def measuring(where: str = "step", train_name: str | None = "train_acc") -> Measuring:
    seed_all(0)
    network = Measuring()
    network.where, network.train_name = where, train_name
    return network


class Note(root.Callback):
    """Notes the metrics after each epoch, and what the estimate is without an anchor."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.raw: list[float] = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.metrics.append({key: float(value) for key, value in trainer.callback_metrics.items()})
        self.raw.append(raw_accuracy(pl_module))


def accuracy_of(network) -> float:
    x, y = loader().dataset.tensors
    with torch.no_grad():
        return float((network.net.eval()(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize("validate", [False, True])
def test_a_network_is_described_with_the_shape_of_a_batch_and_the_log(validate, described):
    ours, note = AccuracyFromWeights(Informed(features="weights+probes+log")), Note()
    fit(root, [note, ours], validate=validate, network=measuring())
    assert [given["input_shape"] for given in described] == [(1, 8, 8)] * 3
    logs = [given["log"] for given in described]
    assert [log["accuracy"] for log in logs] == pytest.approx(
        [metrics["train_acc"] for metrics in note.metrics]
    )
    assert [log["loss"] for log in logs] == pytest.approx(
        [metrics["loss"] for metrics in note.metrics]
    )


def test_a_module_with_a_forward_of_its_own_is_probed_as_a_whole(described):
    predictor = Informed(features="weights+probes")
    network = make_network(root)
    fit(root, [AccuracyFromWeights(predictor)], 1, network=network)
    assert [given["network"] for given in described] == [network.net]

    class Whole(type(network)):
        def forward(self, x):
            return self.net(x)

    network.__class__ = Whole
    fit(root, [AccuracyFromWeights(predictor)], 1, network=network)
    assert described[1]["network"] is network


def test_where_the_log_is_missing_one_sentence_says_what_to_add(described):
    predictor = Informed(features="weights+probes+log")
    network = measuring(train_name=None)
    with pytest.warns(AccuracyFromWeightsWarning, match=r"self\.log\(\"train_acc\"") as caught:
        fit(root, [AccuracyFromWeights(predictor)], network=network)
    assert len(ours_among(caught)) == 1
    assert described == []


def test_metrics_of_other_names_are_read_under_the_names_given(described):
    predictor, note = Informed(features="weights+probes+log"), Note()
    ours = AccuracyFromWeights(predictor, log_keys=("share_right", None))
    fit(root, [ours, note], network=measuring(train_name="share_right"))
    assert [given["log"]["accuracy"] for given in described] == pytest.approx(
        [metrics["share_right"] for metrics in note.metrics]
    )


@pytest.mark.parametrize("validate", [False, True])
def test_training_with_probes_log_and_anchor_is_bit_for_bit_the_same(validate):
    ends = []
    for with_ours in (False, True):
        predictor = Informed(features="weights+probes+log+sample")
        more = {"anchor_every": 2} if validate else {}
        ours = AccuracyFromWeights(predictor, stopping=Patience(99), **more)
        trainer, network = fit(
            root, [ours] if with_ours else [], validate=validate, network=measuring()
        )
        arrays = [tensor.numpy().tobytes() for tensor in network.state_dict().values()]
        modes = [module.training for module in network.modules()]
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if KEY not in k}
        ends.append((arrays, modes, metrics, random_states()))
    assert ends[0] == ends[1]


def test_estimates_are_anchored_to_the_validation_of_every_nth_epoch():
    # Lightning validates after epochs 1, 3, 5 (counted from 0), and before training, which is none.
    predictor, note, network = Informed(), Note(), measuring()
    callbacks = [AccuracyFromWeights(predictor, anchor_every=2), note]
    fit(root, callbacks, 6, validate=True, network=network, check_val_every_n_epoch=2)
    truths = network.truths[1:]
    assert predictor.truths == pytest.approx(truths)
    assert len(truths) == 3
    gaps = [truth - note.raw[epoch] for truth, epoch in zip(truths, (1, 3, 5), strict=True)]
    shifts = [metrics[KEY] - plain for metrics, plain in zip(note.metrics, note.raw, strict=True)]
    means = [0.0, *[sum(gaps[:n]) / n for n in (1, 1, 2, 2, 3)]]
    # The callbacks' own order: Note stands after ours.
    assert shifts == pytest.approx(means, abs=1e-6)
    assert note.metrics[2][f"{KEY}_anchor"] == pytest.approx(truths[0])


@pytest.mark.parametrize("where", ["step", "end"])
def test_at_most_every_n_epochs_a_truth_is_taken(where):
    predictor, network = Informed(), measuring(where)
    ours = AccuracyFromWeights(predictor, anchor_every=3)
    fit(root, [ours], 6, validate=True, network=network)
    _, *truths = network.truths
    ours._truths.anchor(predictor)
    assert predictor.truths == pytest.approx([truths[0], truths[3]])


def test_the_best_checkpoint_goes_by_the_anchored_estimate(tmp_path):
    best = saver(root, tmp_path)
    ours = AccuracyFromWeights(Informed(), anchor_every=1)
    _, network = fit(
        root, [ours, best], 1, validate=True, network=measuring(), enable_checkpointing=True
    )
    assert float(best.best_model_score) == pytest.approx(network.truths[-1])


def test_truths_survive_a_resumed_run(tmp_path):
    def run(epochs, **more):
        ours = AccuracyFromWeights(Informed(), anchor_every=9)
        trainer, _ = fit(root, [ours], epochs, validate=True, network=measuring(), **more)
        return ours, trainer

    first, trainer = run(1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    second, trainer = run(3, ckpt_path=tmp_path / "run.ckpt")
    assert second.state_dict()["truths"] == first.state_dict()["truths"]
    assert len(first.state_dict()["truths"]) == 1
    assert f"{KEY}_anchor" in trainer.callback_metrics


def test_without_any_validation_accuracy_one_sentence_says_what_to_add():
    ours = AccuracyFromWeights(Informed(), anchor_every=1)
    with pytest.warns(AccuracyFromWeightsWarning, match=r"self\.log\(\"val_acc\"") as caught:
        fit(root, [ours], 4, validate=True)
    assert len(ours_among(caught)) == 1


class Regressing(type(make_network(root))):
    """Logs no accuracy, but the error of a regression."""

    def training_step(self, batch, index):
        self.log("train_rmse", 1.0, on_step=False, on_epoch=True, logger=False)
        return super().training_step(batch, index)


def test_a_module_that_logs_an_error_and_no_accuracy_is_one_sentence_and_no_number():
    ours = AccuracyFromWeights(Informed())
    with pytest.warns(AccuracyFromWeightsWarning, match="'train_rmse' is logged") as caught:
        trainer, _ = fit(root, [ours], 3, network=Regressing())
    assert len(ours_among(caught)) == 1
    assert KEY not in trainer.callback_metrics


@pytest.mark.parametrize("validate", [False, True])
def test_with_averaged_weights_the_network_that_is_saved_is_estimated(
    tmp_path, validate, described
):
    averaging = root.callbacks.EMAWeightAveraging(decay=0.9)
    ours, best = AccuracyFromWeights(Informed()), saver(root, tmp_path, save_top_k=-1)
    fit(root, [averaging, ours, best], 2, validate=validate, enable_checkpointing=True)
    saved = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)
    assert float(saved["callbacks"][best.state_key]["current_score"]) == pytest.approx(
        raw_accuracy(saved["state_dict"])
    )
    assert raw_accuracy(saved["state_dict"]) != raw_accuracy(saved["current_model_state"])
    assert len(described) == 2


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: root.callbacks.StochasticWeightAveraging(0.01), "puts averaged weights into"),
        (lambda: root.callbacks.EMAWeightAveraging(), "stands after it in the list"),
    ],
)
def test_weights_that_are_averaged_elsewhere_are_named(make, expected):
    ours = AccuracyFromWeights(Informed())
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        fit(root, [ours, make()], 2)
    assert len(ours_among(caught)) == 1


def with_plateau(mode: str) -> type:
    class WithPlateau(type(make_network(root))):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": KEY}}

    return WithPlateau


def test_a_plateau_scheduler_in_the_wrong_direction_is_named():
    ours = AccuracyFromWeights(Scripted([0.3, 0.5, 0.7]))
    with pytest.warns(AccuracyFromWeightsWarning, match="ReduceLROnPlateau monitors") as caught:
        fit(root, [ours], 3, network=with_plateau("min")())
    assert len(ours_among(caught)) == 1
    fit(root, [AccuracyFromWeights(Scripted([0.5]))], 2, network=with_plateau("max")())


def test_a_plateau_scheduler_neither_misses_its_key_nor_counts_a_failure():
    ours = AccuracyFromWeights(Scripted([OSError("x")]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        trainer, _ = fit(root, [ours], 4, network=with_plateau("max")())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.05


def test_training_examples_are_those_of_the_first_batches_and_stay_the_same(described):
    predictor, note = Sampled(), Note()
    _, network = fit(root, [AccuracyFromWeights(predictor), note], 3)
    assert predictor.logs[-1] == pytest.approx((accuracy_of(network), note.metrics[-1]["loss"]))
    samples = [given["sample"] for given in described]
    assert len(samples) == 3
    assert all(sample is samples[0] for sample in samples)
    assert len(samples[0]) == 128
    assert samples[0].x.shape[1:] == (1, 8, 8)
    assert len(set(samples[0].classes)) == 10


def test_bad_arguments_are_told_at_construction():
    with pytest.raises(AccuracyFromWeightsError, match=r"`anchor_on=3` .* the name of"):
        AccuracyFromWeights(anchor_on=3)
