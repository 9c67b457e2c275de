"""The monitor with probes, with the training log, and anchored to true accuracies."""

from __future__ import annotations

import gc
import io

import numpy as np
import pytest
import torch

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience
from tests.callbacks.loop import KEY, network, train
from tests.callbacks.scripted import (
    Informed,
    Sampled,
    Scripted,
    digits,
    ours_among,
    random_states,
)
from tests.callbacks.scripted import raw_accuracy as raw
from tests.features.probes.asked_modules import TokenLSTM, table_mlp

SHAPE = (1, 8, 8)


def validate(model: torch.nn.Module) -> float:
    """Measure on real images, by a loader that draws from the global generator, in eval mode."""
    x, y = (torch.from_numpy(array) for array in digits(64))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x.permute(0, 3, 1, 2), y), batch_size=32, shuffle=True
    )
    model.eval()
    with torch.no_grad():
        right = [(model(images).argmax(1) == labels).sum() for images, labels in loader]
    return float(sum(right)) / 64


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("weights", {}),
        ("weights+probes", {"input_shape": SHAPE}),
        (
            "weights+probes+log",
            {"input_shape": SHAPE, "log": {"accuracy": 0.5, "loss": 2.0}},
        ),
    ],
)
def test_a_network_is_described_as_the_predictor_was_fitted(features, expected, described):
    model, monitor = network(), Monitor(Informed(features=features), input_shape=SHAPE)
    monitor.update(model, log={"accuracy": 0.5, "loss": 2.0})
    assert described == [{"network": model, "task": "multiclass", **expected}]


def test_the_shape_may_come_with_an_update(described):
    monitor = Monitor(Informed(features="weights+probes"))
    monitor.update(network(), input_shape=torch.ones(4, *SHAPE).shape[1:])
    monitor.update(network())
    assert [given["input_shape"] for given in described] == [SHAPE] * 2


@pytest.mark.parametrize("compiled", [False, True])
def test_the_shape_is_that_of_the_first_forward_pass(described, compiled):
    monitor, model = Monitor(Informed(features="weights+probes")), network()
    if compiled:
        model = torch.compile(model, backend="eager", fullgraph=True)
    seen = []
    train(model, 2, lambda epoch: seen.append(monitor.update(model, epoch)[KEY]))
    assert [given["input_shape"] for given in described] == [SHAPE] * 2
    assert all(value > 0 for value in seen)
    assert not hooks_on_all_modules()


def test_batches_that_the_loop_shows_give_the_training_examples(described):
    monitor, model = Monitor(predictor := Sampled()), network()
    x, y = (torch.from_numpy(array) for array in digits(320))
    before = random_states()
    for _ in range(2):
        for batch in torch.arange(320).split(64):
            monitor.see_batch((x.permute(0, 3, 1, 2)[batch], y[batch]))
        assert monitor.update(model)[KEY] > 0
    first, second = (given["sample"] for given in described)
    assert len(first) == 256
    assert first is second
    assert [given["input_shape"] for given in described] == [SHAPE] * 2
    assert random_states() == before
    assert predictor.logs[0] == predictor.logs[1]
    assert np.isfinite(predictor.logs).all()
    monitor.update(model, log={"accuracy": 0.5})
    assert predictor.logs[2] == (0.5, predictor.logs[0][1])


def test_a_batch_without_classes_is_one_warning():
    monitor = Monitor(Informed(features="weights+probes+log+sample"))

    def show_and_update():
        for _ in range(2):
            monitor.see_batch(torch.ones(8, *SHAPE))
            monitor.update(network(), log={"accuracy": 0.5, "loss": 2.0})

    with pytest.warns(AccuracyFromWeightsWarning, match="no inputs and classes") as caught:
        show_and_update()
    assert len(ours_among(caught)) == 1


def hooks_on_all_modules() -> bool:
    gc.collect()
    return bool(torch.nn.modules.module._global_forward_pre_hooks)


def test_a_monitor_that_is_dropped_leaves_no_hook():
    monitor = Monitor(features="weights+probes")
    assert hooks_on_all_modules()
    del monitor
    assert not hooks_on_all_modules()


def test_before_any_forward_pass_there_is_one_sentence_and_nothing_is_logged():
    logged = []
    monitor = Monitor(
        Informed(features="weights+probes"), log_to=lambda values, step: logged.append(values)
    )
    model = network()
    with pytest.warns(AccuracyFromWeightsWarning, match="pass `input_shape`") as caught:
        values = [monitor.update(model)[KEY] for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert values == [0.0] * 3
    assert logged == []
    model(torch.ones(4, *SHAPE))
    assert monitor.update(model)[KEY] > 0
    assert len(logged) == 1


def test_where_the_log_is_missing_one_sentence_says_what_to_add(described):
    monitor = Monitor(Informed(features="weights+probes+log"), input_shape=SHAPE)
    with pytest.warns(AccuracyFromWeightsWarning, match=r"pass update\(model, log=") as caught:
        values = [monitor.update(network(), log={"loss": 2.0})[KEY] for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert described == []
    assert values == [0.0] * 3
    assert monitor.update(network(), log={"accuracy": 0.5, "loss": 2.0})[KEY] > 0


def test_training_with_probes_is_bit_for_bit_the_same_and_hooks_stay():
    ends = []
    for watched in (True, False):
        model = network(seed=4)
        passes = []
        model.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        monitor = Monitor(
            Informed(features="weights+probes"),
            input_shape=SHAPE,
            anchor_every=2,
            validate=validate,
        )

        def after_epoch(epoch, watched=watched, model=model, monitor=monitor):
            if watched:
                monitor.update(model, epoch)

        losses = train(model, 3, after_epoch)
        weights = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
        modes = [module.training for module in model.modules()]
        ends.append((losses, weights, modes, random_states()))
        assert len(passes) == 3 * 2 + (2 * 2 if watched else 0)  # batches; validate's own
    assert ends[0] == ends[1]


def test_estimates_are_anchored_to_what_validate_measures_every_n_epochs():
    predictor, model, asked, seen = Informed(), network(), [], []

    def measure(model):
        asked.append(validate(model))
        return asked[-1]

    monitor = Monitor(predictor, anchor_every=3, validate=measure)

    def after_epoch(epoch):
        seen.append((raw(model), monitor.update(model, epoch)))

    train(model, 5, after_epoch)
    assert len(asked) == 2
    first = asked[0] - seen[0][0]
    second = (first + asked[1] - seen[3][0]) / 2
    shifts = [values[KEY] - plain for plain, values in seen]
    assert shifts == pytest.approx([first] * 3 + [second] * 2)
    anchors = [values[f"{KEY}_anchor"] for _, values in seen]
    assert anchors == [asked[0]] * 3 + [asked[1]] * 2
    assert seen[0][1][KEY] == pytest.approx(asked[0])


def test_truths_that_the_loop_knows_are_taken_whenever_they_come():
    predictor, model = Informed(), network()
    monitor = Monitor(predictor, every_n_epochs=5)
    plain = raw(model)
    assert monitor.update(model) == pytest.approx(
        {KEY: plain, f"{KEY}_low": plain - 0.1, f"{KEY}_high": plain + 0.1, f"{KEY}_in_family": 1}
    )
    assert monitor.update(model, accuracy=0.5)[KEY] == pytest.approx(0.5)
    values = monitor.update(model)
    assert values[KEY] == pytest.approx(0.5)
    assert values[f"{KEY}_anchor"] == 0.5
    monitor.update(model, accuracy=0.7)
    assert predictor.truths == [0.5, 0.7]


def test_a_resumed_run_keeps_its_truths():
    first, model = Monitor(Informed(), anchor_every=9, validate=lambda model: 0.25), network()
    expected = first.update(model)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Monitor(Informed(), anchor_every=9, validate=lambda model: 1 / 0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.update(model) == expected


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (lambda model: 1 / 0, "getting the true accuracy failed"),
        (lambda model: 97.0, r"`validate` returned 97.0, which is no fraction"),
        (lambda model: None, "getting the true accuracy failed"),
    ],
)
def test_truths_that_are_none_are_told_once_and_asked_for_every_n_epochs_only(truth, expected):
    asked = []
    monitor = Monitor(
        Informed(), anchor_every=3, validate=lambda model: (asked.append(1), truth(model))[1]
    )
    model = network()
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        values = [monitor.update(model) for _ in range(7)]
    assert len(ours_among(caught)) == 1
    assert len(asked) == 3
    assert {value[KEY] for value in values} == {raw(model)}
    assert all(len(value) == 4 for value in values)


def test_an_anchor_that_fails_leaves_the_plain_estimate():
    class Loose(Informed):
        def anchor(self, networks, accuracies):
            raise ZeroDivisionError("injected")

    model = network()
    monitor = Monitor(Loose(), anchor_every=1, validate=lambda model: 0.5)
    with pytest.warns(AccuracyFromWeightsWarning, match="anchoring failed") as caught:
        values = [monitor.update(model)[KEY] for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert values == [raw(model)] * 3


def test_the_shipped_predictor_is_that_of_the_features_asked_for(monkeypatch):
    asked = []

    def load(path=None, features="weights"):
        asked.append((path, features))
        return Informed(features=features)

    monkeypatch.setattr("accuracy_from_weights.predictor.pretrained.load_predictor", load)
    Monitor(features="weights+probes", input_shape=SHAPE).update(network())
    Monitor().update(network())
    assert asked == [(None, "weights+probes"), (None, "weights")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"task": "regression"}, r"`task='regression'` cannot be used"),
        ({"features": "probes"}, r"`features='probes'` cannot be used"),
        (
            {"predictor": Informed(), "features": "weights+probes"},
            r"was fitted to features='weights' and cannot read 'weights\+probes'",
        ),
        (
            {"predictor": Scripted([0.5]), "features": "weights+probes"},
            r"was fitted to features='weights' and cannot read 'weights\+probes'",
        ),
        ({"input_shape": 8}, r"`input_shape=8` .* the shape of one example"),
        ({"input_shape": (None, 8)}, r"`input_shape=None` .* an integer of at least 1"),
        ({"anchor_every": 2}, r"`anchor_every` needs a true accuracy; pass `validate`"),
        ({"validate": validate}, r"`validate` is not used without `anchor_every`"),
        ({"validate": validate, "anchor_every": 0}, r"`anchor_every=0` .* an integer"),
        (
            {"predictor": Scripted([0.5]), "validate": validate, "anchor_every": 2},
            r"`predictor` has no method `anchor`",
        ),
    ],
)
def test_bad_arguments_are_told_at_construction(arguments, expected):
    with pytest.raises(AccuracyFromWeightsError, match=expected):
        Monitor(**arguments)


def test_stopping_goes_by_the_anchored_estimate():
    rule = Patience(9)
    Monitor(Informed(), anchor_every=1, validate=lambda model: 0.75, stopping=rule).update(
        network()
    )
    assert rule.best == pytest.approx(0.75)


def test_one_output_is_asked_about_and_not_logged():
    logged = []
    monitor = Monitor(Informed(), log_to=lambda values, step: logged.append(values))
    model = torch.nn.Linear(4, 1)
    with pytest.warns(AccuracyFromWeightsWarning, match="pass task='binary'") as caught:
        assert [monitor.update(model)[KEY] for _ in range(3)] == [0.0] * 3
    assert len(ours_among(caught)) == 1
    assert logged == []
    assert Monitor(Informed(), task="binary").update(model)[KEY] > 0


def test_a_log_of_unknown_names_is_one_sentence_with_a_suggestion():
    monitor = Monitor(Informed(features="weights+probes+log"), input_shape=SHAPE)
    with pytest.warns(AccuracyFromWeightsWarning, match="did you mean 'accuracy'") as caught:
        monitor.update(network(), log={"acuracy": 0.5, "loss": 2.0})
    assert len(ours_among(caught)) == 1
    assert monitor.update(network(), log={"train_acc": 0.5, "train_loss": 2.0})[KEY] > 0


def test_networks_of_tokens_and_tables_need_no_shape(recwarn):
    for make in (TokenLSTM, table_mlp):
        monitor = Monitor(features="weights+probes")
        assert monitor.update(make())[KEY] > 0
    assert ours_among(recwarn.list) == []
