"""Draw docs/pictures/idea.png: the weights of a good and of a bad network, and the estimates.

The numbers that docs/idea.md says of the picture are written, too.

    python docs/make_pictures.py

Trains the paper's network twice on scikit-learn's digits: well, and with a step size so small that
it hardly learns. Needs the extras torch and plot; about half a minute on one core.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from matplotlib.figure import Figure
from page_marks import DOCS, fill_pages

from accuracy_from_weights import load_predictor
from accuracy_from_weights.cli.demo_training import load_digits
from accuracy_from_weights.plots.axes import BLUE, ORANGE

EPOCHS = 30
RUNS = (("learns", 3e-3, BLUE), ("hardly learns", 3e-6, ORANGE))


def train(learning_rate: float) -> tuple[np.ndarray, list, list[float], float]:
    """Train, and return the last layer's weights and what is known of each epoch.

    Returns
    -------
    tuple
        Weights; the estimates from weights after each epoch; the true accuracies; the estimate
        with a training sample at the end.
    """
    torch.manual_seed(0)
    data = load_digits()
    x_train, x_test = (
        torch.as_tensor(x.astype(np.float32)) / 127.5 - 1 for x in (data.x_train, data.x_test)
    )
    y_train, y_test = (torch.as_tensor(y.astype(np.int64)) for y in (data.y_train, data.y_test))
    layers: list[torch.nn.Module] = []
    for inputs in (1, 16, 16):
        layers += [torch.nn.Conv2d(inputs, 16, 3, stride=2), torch.nn.ReLU()]
    model = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 10)
    )
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    predictor, estimates, truth = load_predictor(), [], []
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x_train)).split(32):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x_train[rows]), y_train[rows]).backward()
            optimiser.step()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimates.append(predictor.estimate(model))
            truth.append(float((model(x_test).argmax(1) == y_test).float().mean()))
    sample = x_train.numpy(), y_train.numpy()
    informed = load_predictor(features="weights+probes+log+sample").estimate(
        model, log={"samples": len(x_train)}, sample=sample
    )
    return model[-1].weight.detach().numpy().ravel(), estimates, truth, informed.accuracy


def main() -> None:
    """Train, draw, save."""
    figure = Figure(figsize=(5.4, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    epochs, said = np.arange(1, EPOCHS + 1), {}
    for label, learning_rate, colour in RUNS:
        weights, estimates, truth, informed = train(learning_rate)
        top.hist(weights, bins=np.linspace(-0.8, 0.8, 33), color=colour, alpha=0.55, label=label)
        said[f"idea estimate, {label}"] = f"{estimates[-1].accuracy:.0%}"
        said[f"idea truth, {label}"] = f"{truth[-1]:.0%}"
        said[f"idea estimate with a sample, {label}"] = f"{informed:.0%}"
        low, high = ([getattr(e, end) for e in estimates] for end in ("low", "high"))
        bottom.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0)
        bottom.plot(
            epochs, [e.accuracy for e in estimates], color=colour, label=f"{label}: estimate"
        )
        bottom.plot(
            epochs, truth, color=colour, linestyle=":", linewidth=2, label=f"{label}: truth"
        )
    top.set(title="weights of the last layer after 30 epochs", xlabel="weight", ylabel="how many")
    bottom.set(title="estimates and true accuracies", xlabel="epoch", ylabel="accuracy")
    bottom.set_ylim(0, 1)
    bottom.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            frameon=False,
            fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.22),
            ncols=2,
        )
    figure.savefig(DOCS / "pictures" / "idea.png", dpi=160)
    fill_pages(said)


if __name__ == "__main__":
    main()
