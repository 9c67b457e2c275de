"""Pictures of many runs in one."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.style
import pytest

from accuracy_from_weights.plots.training_run import plot_history

KEY = "accuracy_from_weights"


def run(*accuracies: float, truth: float | None = None) -> list[dict[str, float]]:
    more = {} if truth is None else {"val_accuracy": truth}
    return [
        {KEY: a, f"{KEY}_low": a - 0.1, f"{KEY}_high": a + 0.1, f"{KEY}_in_family": 1.0, **more}
        for a in accuracies
    ]


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


RUNS = {"small": run(0.2, 0.3), "large": run(0.3, 0.6, 0.8), "slow": run(0.1, 0.2, 0.3)}


def test_each_run_is_a_line_the_stopped_one_is_marked_and_the_best_has_its_interval(tmp_path):
    path = tmp_path / "sweep.png"
    axes = plot_history(RUNS, path=path)
    assert [list(line.get_ydata()) for line in axes.lines] == [
        [row[KEY] for row in rows] for rows in RUNS.values()
    ]
    assert [line.get_marker() for line in axes.lines] == ["X", "None", "None"]
    assert legend(axes) == [
        "small, stopped",
        "large, went on to the end",
        "interval of large, the best by its estimate",
        "slow, went on to the end",
    ]
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().bounds == pytest.approx((1, 0.2, 2, 0.7))
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["list", "histories", "columns", "files"])
def test_a_sweep_may_hold_any_kind_of_log(kind, tmp_path):
    columns = [{key: [row[key] for row in rows] for key in rows[0]} for rows in RUNS.values()]
    if kind == "files":
        runs = []
        for number, rows in enumerate(RUNS.values()):
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            runs.append(tmp_path / f"{number}.csv")
            runs[-1].write_text("\n".join(lines) + "\n")
    else:
        histories = [SimpleNamespace(history=log) for log in columns]
        runs = {"list": [*RUNS.values()], "histories": histories, "columns": columns}[kind]
    axes = plot_history(runs)
    assert [list(line.get_ydata()) for line in axes.lines] == [
        [row[KEY] for row in rows] for rows in RUNS.values()
    ]
    assert legend(axes)[0] == "1, stopped"


def test_of_many_runs_the_legend_names_the_best_alone_and_its_truth_is_drawn():
    runs = {f"run {k}": run(0.1, 0.01 * k, truth=0.5)[: 1 + (k > 20)] for k in range(50)}
    axes = plot_history(runs, truth="val_accuracy")
    assert legend(axes) == [
        "stopped",
        "went on to the end",
        "interval of run 49, the best by its estimate",
        "true accuracy on held-out data",
    ]
    assert sum(line.get_marker() == "X" for line in axes.lines) == 21
    assert sum(list(line.get_ydata()) == [0.5, 0.5] for line in axes.lines) == 1


def test_a_run_may_lack_the_truth_and_all_may_not():
    runs = {"measured": run(0.2, truth=0.4), "not": run(0.3)}
    axes = plot_history(runs, truth="val_accuracy")
    assert [list(line.get_ydata()) for line in axes.lines][1] == [0.4]
    with pytest.raises(ValueError, match="No run has a column 'val_acc'"):
        plot_history(runs, truth="val_acc")


def test_a_run_without_estimates_is_named():
    with pytest.raises(ValueError, match=r"Run 'empty': .* no estimates under"):
        plot_history({"full": run(0.2), "empty": [{"loss": 1.0}]})


def test_a_picture_takes_on_the_style_of_matplotlib():
    with matplotlib.style.context("dark_background"):
        axes = plot_history(RUNS)
    assert axes.get_facecolor() == axes.figure.get_facecolor() == (0, 0, 0, 1)
    assert {text.get_color() for text in axes.get_legend().get_texts()} == {"white"}
