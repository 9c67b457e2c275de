"""Draw docs/pictures/universe.png: the tasks of the first fifty seeds.

    python docs/make_universe.py

Needs the extra plot; about half a minute on one core.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accuracy_from_weights.zoo_training.universe import TaskData, make_task

PICTURE = Path(__file__).parent / "pictures" / "universe.png"
ROWS, COLUMNS = 10, 5
CLASSES, EXAMPLES = 4, 8


def examples(task: TaskData) -> list[np.ndarray]:
    """Return some examples of each of the first classes."""
    classes = range(min(CLASSES, task.n_classes))
    return [task.x_train[task.y_train == c][:EXAMPLES] for c in classes]


def draw_images(axes: Axes, task: TaskData) -> None:
    """Show one class in each row."""
    size, channels = task.x_train.shape[2], task.x_train.shape[1]
    sheet = np.full((len(examples(task)) * (size + 1), EXAMPLES * (size + 1), channels), 255)
    for row, some in enumerate(examples(task)):
        for column, image in enumerate(some):
            top, left = row * (size + 1), column * (size + 1)
            sheet[top : top + size, left : left + size] = image.transpose(1, 2, 0)
    axes.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=255)


def draw_table(axes: Axes, task: TaskData) -> None:
    """Show the two directions in which the means of the classes differ most."""
    x, y = task.x_train[:600].astype(np.float64), task.y_train[:600]
    means = np.stack([task.x_train[task.y_train == c].mean(0) for c in range(task.n_classes)])
    within = np.cov(x.T) + 0.1 * np.eye(x.shape[1])
    directions = np.linalg.eigh(np.linalg.solve(within, np.cov(means.T)))[1][:, -2:]
    places = x @ directions
    axes.scatter(*places.T, c=y % 10, cmap="tab10", vmin=0, vmax=9, s=3, linewidths=0)


def draw_tokens(axes: Axes, task: TaskData) -> None:
    """Show one sequence in each row, one colour for each token; classes are set apart."""
    length = task.x_train.shape[1]
    gap = np.full((2, length), np.nan)
    parts = [part for some in examples(task) for part in (some.astype(float), gap)]
    sheet = np.concatenate(parts[:-1])
    sheet[sheet == 0] = np.nan
    colours = np.random.default_rng(0).permutation(task.vocabulary)
    sheet = np.where(np.isnan(sheet), np.nan, colours[np.nan_to_num(sheet).astype(int)])
    axes.imshow(sheet, cmap="turbo", aspect="auto", interpolation="nearest")


def draw_signals(axes: Axes, task: TaskData) -> None:
    """Show two signals of each class, all channels in one line's colours."""
    height = 0.0
    for c, some in enumerate(examples(task)):
        for signal in some[:2]:
            for channel in signal:
                axes.plot(channel / 6 - height, color=f"C{c}", linewidth=0.5)
            height += 1.0


DRAW = {
    "image": draw_images,
    "table": draw_table,
    "tokens": draw_tokens,
    "signal": draw_signals,
}


def main() -> None:
    """Draw the picture."""
    figure = Figure(figsize=(11, 19), layout="constrained")
    for seed, axes in enumerate(figure.subplots(ROWS, COLUMNS).flat):
        task = make_task(seed)
        DRAW[task.kind](axes, task)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        name = "" if task.kind == "image" else f"{task.kind}: "
        aim = float(task.facts["aim"])
        axes.set_title(f"{seed}  {name}{task.facts['family']}, {task.n_classes} classes, {aim:.2f}")
        axes.title.set_fontsize(7)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
