"""The monitor in a training loop of one's own, with PyTorch."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import accuracy_from_weights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Hopeless, Patience, StopReason
from tests.callbacks.loop import KEY, KEYS, network, train
from tests.callbacks.scripted import (
    RULES,
    Answer,
    ReadsWeights,
    Scripted,
    ours_among,
    random_states,
    untrained_accuracy,
)


def test_a_loop_gets_the_numbers_and_stops_with_a_reason(capsys):
    model, seen = network(), []
    monitor = Monitor(Scripted([0.3, 0.6, 0.5, 0.4]), stopping=Patience(2))

    def after_epoch(epoch):
        seen.append(monitor.update(model, epoch))
        return monitor.should_stop

    assert len(train(model, 9, after_epoch)) == 4
    assert [values[KEY] for values in seen] == [0.3, 0.6, 0.5, 0.4]
    assert list(seen[0]) == KEYS
    assert all(type(value) is float for value in seen[0].values())
    assert monitor.decision.reason is StopReason.NO_IMPROVEMENT
    assert "stopped at step 3 (no improvement)" in capsys.readouterr().out


def test_every_update_is_logged_with_its_step():
    logged = []
    monitor = Monitor(
        Scripted([0.1, 0.2]),
        every_n_epochs=2,
        log_to=lambda values, step: logged.append((step, values)),
    )
    returned = [monitor.update(network(), step) for step in (100, 200, 300)]
    returned.append(monitor.update(network()))
    assert [step for step, _ in logged] == [100, 200, 300, 3]
    assert [values for _, values in logged] == returned
    assert [values[KEY] for values in returned] == [0.1, 0.1, 0.2, 0.2]


def test_the_rule_is_told_the_step():
    steps = []
    monitor = Monitor(Scripted([0.1]), stopping=Hopeless(lambda step: steps.append(step)))
    for step in (10, 20):
        monitor.update(network(), step)
    assert steps == [10, 20]


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(rule, answers, epochs, reason):
    monitor, model = Monitor(Scripted(answers), stopping=rule()), network()
    losses = train(model, 6, lambda epoch: monitor.update(model) and monitor.should_stop)
    assert len(losses) == epochs
    assert monitor.decision.reason == reason


def test_a_rule_that_gives_no_decision_ends_no_loop():
    class Hasty(Patience):
        def update(self, estimate, step):
            return True

    monitor = Monitor(Scripted([0.5]), stopping=Hasty())
    with pytest.warns(AccuracyFromWeightsWarning, match="instead of a Decision") as caught:
        seen = [monitor.update(network())[KEY] for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert seen == [0.5] * 3
    assert not monitor.should_stop


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"step": "first"}, "the stopping rule failed"),
        ({"input_shape": 8}, r"taking `input_shape` failed .* the shape of one example"),
    ],
)
def test_an_update_with_bad_arguments_says_so_and_gives_its_numbers(arguments, expected):
    monitor = Monitor(Scripted([0.5]), stopping=Patience(3))
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        seen = [monitor.update(network(), **arguments)[KEY] for _ in range(2)]
    assert len(ours_among(caught)) == 1
    assert seen == [0.5, 0.5]


def test_a_state_that_no_checkpoint_can_hold_is_left_out_with_a_warning():
    class Hoarder(Patience):
        def state_dict(self):
            return {"all": object()}

    monitor = Monitor(Scripted([0.5]), stopping=Hoarder())
    monitor.update(network())
    with pytest.warns(AccuracyFromWeightsWarning, match="keeping the state failed"):
        state = monitor.state_dict()
    assert state == {"updates": 1}
    monitor.load_state_dict(state)


def test_a_tracker_that_keeps_the_dict_cannot_change_what_is_returned():
    monitor = Monitor(Scripted([0.1]), log_to=lambda values, step: values.clear())
    assert monitor.update(network())[KEY] == 0.1
    assert monitor.update(network())[KEY] == 0.1


def test_tensorboard_files_hold_the_estimate(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        monitor = Monitor(
            Scripted([0.25, 0.5]),
            log_to=lambda values, step: [writer.add_scalar(k, v, step) for k, v in values.items()],
        )
        model = network()
        train(model, 3, lambda epoch: monitor.update(model, epoch) and False)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars(KEY)] == [(0, 0.25), (1, 0.5), (2, 0.5)]
    assert set(KEYS) <= set(events.Tags()["scalars"])


def test_training_and_random_states_are_bit_for_bit_the_same_with_and_without():
    ends = []
    for watched in (True, False):
        model = network(seed=4)
        monitor = Monitor(ReadsWeights(), stopping=Patience(99))
        losses = train(model, 3, lambda epoch: watched and monitor.update(model, epoch) and False)  # noqa: B023 - called within this turn of the loop
        weights = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
        ends.append((losses, weights, random_states()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_gradients_stay_as_they_were(training):
    model = network().train(training)
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    Monitor(ReadsWeights()).update(model)
    assert all(module.training is training for module in model.modules())
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert parameter.requires_grad


def test_a_resumed_run_goes_on_with_its_count_its_value_and_its_rule():
    def monitor(answers):
        return Monitor(Scripted(answers), every_n_epochs=2, stopping=Patience(2))

    first = monitor([0.9, 0.5])
    for _ in range(3):
        first.update(network())
    file = io.BytesIO()
    torch.save({"monitor": first.state_dict()}, file)
    file.seek(0)
    second = monitor([0.4])
    second.load_state_dict(torch.load(file, weights_only=True)["monitor"])
    assert second.update(network())[KEY] == 0.5
    assert not second.should_stop
    assert second.update(network())[KEY] == 0.4
    assert second.should_stop


def test_a_state_that_does_not_fit_is_left_with_a_warning():
    monitor = Monitor(Scripted([0.4]), name="mine")
    with pytest.warns(AccuracyFromWeightsWarning, match="taking up the saved state failed"):
        monitor.load_state_dict({"updates": 1, "values": {KEY: 0.5}, "stopping": None})
    assert monitor.update(network())["mine"] == 0.4


def test_a_diverged_network_gets_the_estimate_of_an_untrained_one(predictor_file):
    model = network()
    monitor = Monitor(predictor_file)
    with warnings.catch_warnings():
        # What a network of another shape is like, this predictor cannot know.
        warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
        sound = monitor.update(model)
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    with pytest.warns(AccuracyFromWeightsWarning, match="NaN or infinity") as caught:
        values = [monitor.update(model) for _ in range(3)]
    assert len(ours_among(caught)) == 1
    predictor = accuracy_from_weights.load_predictor(predictor_file)
    assert {v[KEY] for v in values} == {untrained_accuracy(predictor_file)}
    assert sound[KEY] == predictor.predict([network()])[0]


def fail(*args, **kwargs):
    raise ZeroDivisionError("injected")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"predictor": Scripted([ZeroDivisionError("x")])}, id="estimate"),
        pytest.param({"predictor": Scripted([Answer(0.5, float("-inf"))])}, id="not finite"),
        pytest.param({"predictor": Scripted([object()])}, id="no estimate"),
        pytest.param({"predictor": None}, id="load"),
        pytest.param({"predictor": ReadsWeights(), "name": "read"}, id="read"),
        pytest.param({"predictor": Scripted([0.5]), "log_to": fail}, id="log_to"),
    ],
)
def test_whatever_fails_there_is_one_warning_and_four_finite_numbers(fault, monkeypatch):
    monkeypatch.setattr("accuracy_from_weights.predictor.pretrained.load_predictor", fail)
    if "name" in fault:
        monkeypatch.setattr("accuracy_from_weights.features.describing.read_weights", fail)
    plain, model = network(2), network(2)
    torch.manual_seed(0)
    expected = train(plain, 3, lambda epoch: False)
    monitor, seen = Monitor(**fault), []
    torch.manual_seed(0)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        losses = train(model, 3, lambda epoch: seen.append(monitor.update(model, epoch)))
    assert len(ours_among(caught)) == 1
    assert losses == expected
    assert all(np.isfinite(list(values.values())).all() for values in seen)
    if "log_to" not in fault:
        assert [list(values.values()) for values in seen] == [[0.0, 0.0, 1.0, 0.0]] * 3


def test_after_a_failure_the_last_known_accuracy_is_repeated_without_any_certainty():
    monitor = Monitor(Scripted([0.7, OSError("x"), 0.8]), every_n_epochs=2)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        seen = [list(monitor.update(network()).values()) for _ in range(5)]
    assert seen[0] == pytest.approx([0.7, 0.6, 0.8, 1.0])
    # Repeated between estimates with what is known of it: nothing.
    assert seen[2] == seen[3] == [0.7, 0.0, 1.0, 0.0]
    assert seen[4] == pytest.approx([0.8, 0.7, 0.9, 1.0])


def test_a_rule_does_not_hear_of_an_estimate_that_failed():
    monitor = Monitor(Scripted([0.7, OSError("x"), OSError("x"), 0.8]), stopping=Patience(1))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        seen = [monitor.update(network())[KEY] for _ in range(4)]
    assert seen == [0.7, 0.7, 0.7, 0.8]
    assert not monitor.should_stop


def test_a_warning_quotes_the_line_of_the_loop():
    monitor, model = Monitor(Scripted([OSError("x")])), network()
    with pytest.warns(AccuracyFromWeightsWarning) as caught:
        monitor.update(model)
    assert caught[0].filename == __file__
    assert "monitor.update(model)" in Path(__file__).read_text().splitlines()[caught[0].lineno - 1]


def test_once_stopped_it_stays_stopped():
    monitor = Monitor(Scripted([0.7, 0.6, 0.9]), stopping=Patience(1))
    for _ in range(3):
        monitor.update(network())
    assert monitor.should_stop


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"every_n_epochs": 1.5}, r"`every_n_epochs=1.5` .* an integer"),
        ({"log_to": "wandb"}, r"`log_to='wandb'` cannot be used"),
        ({"predictor": object}, r"`predictor=.* pass an AccuracyPredictor"),
    ],
)
def test_bad_arguments_are_told_at_construction(arguments, expected):
    with pytest.raises(AccuracyFromWeightsError, match=expected):
        Monitor(**arguments)
