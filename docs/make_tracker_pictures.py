"""Draw docs/pictures/tensorboard.png, mlflow.png and wandb.png: real trackers with a real run.

    python docs/make_tracker_pictures.py [tensorboard] [mlflow] [wandb]

Trains the network of examples/pytorch_loop.py and looks at what the trackers show, in a headless
browser. Needs the extras torch and plot, the trackers named, playwright, and Debian's chromium.
Weights & Biases shows nothing offline, so its picture is the figure that its run holds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EPOCHS = 20
DOCS = Path(__file__).parent


def train(rate: float, log: Callable[[dict[str, float], int], Any], chart_to: Any = None) -> None:
    """Train, and log the estimate and the true accuracy of each epoch."""
    from digits_run import epochs

    from accuracy_from_weights.callbacks.torch import Monitor

    monitor = functools.partial(Monitor, log_to=log, chart_to=chart_to)
    for epoch, model, watching, seen, truth in epochs(rate, 0, EPOCHS, monitor):
        log({"val_acc": truth}, epoch)
        watching.update(model, epoch, log={**seen, "val_acc": truth})


@contextlib.contextmanager
def served(command: list[str], folder: str) -> Iterator[str]:
    """Run a server on a free port, and yield its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def screenshot(url: str, path: Path, until: str, steps: tuple[str, ...] = ()) -> None:
    """Wait for a selector, click on others, and save what the browser shows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1100, "height": 680})
        page.goto(url)
        page.wait_for_selector(until, timeout=120_000)
        for step in steps:
            if page.locator(step).count():
                page.locator(step).first.click()
        page.wait_for_timeout(5_000)
        page.screenshot(path=path)
        browser.close()


def tensorboard(folder: str, picture: Path) -> None:
    """Show two runs in the chart that `add_chart` lays out."""
    from torch.utils.tensorboard import SummaryWriter

    from accuracy_from_weights.integrations.tensorboard import add_chart

    for rate in (3e-3, 3e-4):
        with SummaryWriter(f"{folder}/runs/rate {rate}") as writer:
            train(
                rate,
                lambda values, step: [
                    writer.add_scalar(name, value, step) for name, value in values.items()
                ],
            )
    add_chart(f"{folder}/runs", truth="val_acc")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs"]
    with served(command, folder) as url:
        chart = "tf-custom-scalar-margin-chart-card"
        # The chart is as wide as the page once it is expanded.
        expand = f"{chart} paper-icon-button, {chart} [title*=full]"
        screenshot(f"{url}/#custom_scalars", picture, chart, (expand,))


def mlflow(folder: str, picture: Path) -> None:
    """Show a run whose chart is among its artifacts."""
    import mlflow

    os.chdir(folder)
    store = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("digits")
    with mlflow.start_run() as run:
        train(
            3e-3, mlflow.log_metrics, lambda figure, step: mlflow.log_figure(figure, "accuracy.png")
        )
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/accuracy.png"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store]
    beside = ("[data-component-id*='chat_panel.close']", "[aria-label='Toggle sidebar']")
    with served(command, folder) as url:
        screenshot(f"{url}/{page}", picture, "img[src*='accuracy.png'], img[src^='blob:']", beside)


def wandb(folder: str, picture: Path) -> None:
    """Copy the figure that a run of Weights & Biases holds at its last step."""
    import wandb

    with wandb.init(project="digits", mode="offline", dir=folder):
        train(
            3e-3,
            wandb.log,
            lambda figure, step: wandb.log({"accuracy": wandb.Image(figure)}, commit=False),
        )
    figures = Path(folder).rglob("media/images/accuracy_*.png")
    last = max(figures, key=lambda path: int(re.findall(r"_(\d+)_", path.name)[0]))
    shutil.copy(last, picture)


def main() -> None:
    """Train, look, save."""
    warnings.filterwarnings("ignore", ".*outside the family")
    for draw in (tensorboard, mlflow, wandb):
        if draw.__name__ in (sys.argv[1:] or ("tensorboard", "mlflow", "wandb")):
            with tempfile.TemporaryDirectory() as folder:
                draw(folder, DOCS.resolve() / "pictures" / f"{draw.__name__}.png")


if __name__ == "__main__":
    main()
