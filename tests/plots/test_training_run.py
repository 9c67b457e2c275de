"""Pictures of estimates over epochs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.plots.training_run import plot_history, plot_log

LOG = {
    "accuracy_from_weights": [0.2, 0.5, 0.8],
    "accuracy_from_weights_low": [0.1, 0.4, 0.7],
    "accuracy_from_weights_high": [0.4, 0.7, 0.9],
    "accuracy_from_weights_in_family": [0.0, 1.0, 1.0],
    "loss": [2.0, 1.0, 0.5],
}


def lines_of(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def test_a_log_becomes_a_picture(tmp_path):
    path = tmp_path / "run.png"
    axes = plot_log(LOG, true_accuracy=[0.25, 0.45, 0.75], chosen_epoch=3, path=path)
    lines = lines_of(axes)
    assert lines["estimate"] == [0.2, 0.5, 0.8]
    assert lines["true accuracy on held-out data"] == [0.25, 0.45, 0.75]
    assert lines["outside the known family"] == [0.2]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert axes.get_ylim() == (0, 1)


def test_draws_into_the_axes_of_the_user_and_leaves_pyplot_alone():
    axes = Figure().add_subplot()
    assert plot_log(LOG, ax=axes) is axes
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_a_log_without_estimates_is_refused():
    with pytest.raises(ValueError, match="lacks accuracy_from_weights_low"):
        plot_log({"accuracy_from_weights": [0.1]})


@pytest.mark.parametrize(
    "changes", [{"epochs": [1, 2]}, {"true_accuracy": [0.1]}], ids=["epochs", "truth"]
)
def test_lengths_must_agree(changes):
    with pytest.raises(ValueError, match="3 estimates"):
        plot_log(LOG, **changes)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"accuracy-from-weights\[plot\]"):
        plot_log(LOG)


def as_rows():
    return [dict(zip(LOG, values, strict=True)) for values in zip(*LOG.values(), strict=True)]


def write_lightning_csv(path):
    """Rows as Lightning's CSVLogger writes them: of single steps, and of epochs in two parts."""
    names = [*list(LOG)[:4], "epoch", "step", "train_loss_step", "val_acc"]
    lines = [",".join(names)]
    for epoch, row in enumerate(as_rows()):
        lines.append(f",,,,{epoch},{10 * epoch},0.7,")
        lines.append(f",,,,{epoch},{10 * epoch + 9},,{0.1 + 0.2 * epoch}")
        numbers = ",".join(str(row[name]) for name in names[:4])
        lines.append(f"{numbers},{epoch},{10 * epoch + 9},,")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["mapping", "History", "rows"])
def test_any_history_becomes_the_same_picture(kind):
    history = {"mapping": LOG, "History": SimpleNamespace(history=LOG), "rows": as_rows()}[kind]
    assert lines_of(plot_history(history)) == lines_of(plot_log(LOG))


def test_a_csv_of_lightning_becomes_a_picture(tmp_path):
    axes = plot_history(write_lightning_csv(tmp_path / "metrics.csv"), truth="val_acc")
    lines = lines_of(axes)
    assert lines["estimate"] == [0.2, 0.5, 0.8]
    assert lines["true accuracy on held-out data"] == pytest.approx([0.1, 0.3, 0.5])
    assert list(axes.lines[0].get_xdata()) == [0, 1, 2]


@pytest.mark.parametrize("history", [[], [{"loss": 1.0}], 3, [1, 2]], ids=str)
def test_a_history_without_estimates_is_refused(history):
    with pytest.raises(ValueError, match=r"no estimates under|cannot be drawn"):
        plot_history(history)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="'val_acc'"):
        plot_history(LOG, truth="val_acc")
