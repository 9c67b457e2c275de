"""What a network was trained for: whether it classifies, and so has an accuracy to estimate.

A model's class, configuration and loss say so, and the shapes of its first and last layers hint at
it. Where there is no accuracy, `UnsupportedModelError` gives the reason.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError, invalid_argument
from accuracy_from_weights.weights.files.keras_loss import losses_of_file
from accuracy_from_weights.weights.layers import Layer, NetworkWeights

TASKS = ("binary", "multiclass")

# By the names of losses and metrics in PyTorch, Keras and torchmetrics, in lower case and without
# underscores.
_LOSSES = {
    "multiclass": (
        "crossentropyloss crossentropy nllloss multimarginloss categoricalcrossentropy "
        "sparsecategoricalcrossentropy categoricalfocalcrossentropy categoricalhinge "
        "multiclassaccuracy"
    ),
    "binary": (
        "bceloss bcewithlogitsloss softmarginloss binarycrossentropy "
        "binarycrossentropywithlogits binaryfocalcrossentropy hinge squaredhinge binaryaccuracy"
    ),
    "regression": (
        "mseloss l1loss smoothl1loss huberloss gaussiannllloss poissonnllloss mse mae mape msle "
        "huber logcosh poisson meansquarederror meanabsoluteerror meanabsolutepercentageerror "
        "meansquaredlogarithmicerror rootmeansquarederror r2score"
    ),
    "multi-label classification": (
        "multilabelmarginloss multilabelsoftmarginloss multilabelaccuracy multilabelf1score "
        "multilabelauroc multilabelaverageprecision"
    ),
    "embedding": (
        "cosineembeddingloss tripletmarginloss tripletmarginwithdistanceloss marginrankingloss "
        "hingeembeddingloss cosinesimilarity"
    ),
    "detection or segmentation": "dice tversky meanaverageprecision",
    "transcription": "ctc ctcloss",
}
_MEANINGS = {name: task for task, names in _LOSSES.items() for name in names.split()}

# In the names under which metrics are logged, as whole words.
_LOGGED = {
    "regression": {"mse", "mae", "rmse", "mape", "r2"},
    "detection or segmentation": {"map50", "iou", "miou", "dice"},
    "language modelling": {"perplexity", "ppl", "bleu", "rouge"},
}
_ACCURACY = re.compile(r"(^|_)(acc|accuracy|top_?[15])(_|$)|accuracy$")

# In the names of classes of transformers, after "For".
_HEADS = (
    (r"(Sequence|Image|Audio|Video)Classification", "multiclass"),
    (r"LM$|LMHead|ConditionalGeneration|CausalImageModeling", "language modelling"),
    (r"Detection|Segmentation|DepthEstimation|KeypointDetection", "detection or segmentation"),
    (r"CTC|SpeechSeq2Seq", "transcription"),
    (r"TokenClassification|FrameClassification", "labelling each token"),
    (r"QuestionAnswering|MultipleChoice", "choosing among answers"),
    (r"PreTraining|XVector|Embedding", "embedding"),
)
# In the names of classes anywhere.
_CLASSES = (
    (r"(Auto_?[Ee]ncoder|VAE)$", "reconstruction"),
    (r"(Generator|GAN)$", "generation"),
    (r"(U_?[Nn]et(PlusPlus)?|_SimpleSegmentationModel)$", "detection or segmentation"),
    (r"(Detector|DetectionModel|RCNN|RetinaNet)$", "detection or segmentation"),
    (r"^(YOLO\w*|SSD|FCOS|DETR)$", "detection or segmentation"),
)
# A vocabulary, or a picture, has at least as many entries.
_MANY_TOKENS = 1_000
_MANY_OUTPUTS = 16


def check_task(task: Any) -> str | None:
    """Return `task`, or raise `InvalidArgumentError` when it is neither in `TASKS` nor None."""
    if task is not None and task not in TASKS:
        raise invalid_argument("task", task, "'binary', 'multiclass' or None")
    return None if task is None else str(task)


def declared_task(model: Any, loss: Any = None, logged: Iterable[Any] = ()) -> str | None:
    """Return the task that a model, its loss and its metrics declare.

    Parameters
    ----------
    model : object
        A PyTorch module, with the losses and metrics that it holds, a Keras model, with those
        that it is compiled with, or the path of a Keras file, with its loss. Anything else
        declares nothing.
    loss : object, optional
        The loss that it is trained with, where the model does not hold it: a module, a function, a
        class or a name.
    logged : iterable of str, optional
        Names under which its metrics are logged.

    Returns
    -------
    {"binary", "multiclass"} or None
        None where nothing tells. "binary" also stands for one binary loss for each of several
        outputs; see `as_classifier`.

    Raises
    ------
    UnsupportedModelError
        When the task is another one, so that there is no accuracy to estimate.
    """
    if isinstance(model, str | os.PathLike):
        return _task_of_losses(losses_of_file(model))
    by_class = _task_of_class(model)
    if by_class is not None:
        return _classifying(by_class, f"its class, {type(model).__name__}, says so")
    losses = [one for one in (loss, *_losses_of(model)) if one is not None]
    by_loss = _task_of_losses([_name_of(one) for one in losses])
    if by_loss is not None:
        return by_loss
    words = [re.sub(r"[^a-z0-9]+", "_", str(name).lower()) for name in logged]
    if any(_ACCURACY.search(word) for word in words):
        return "multiclass"
    for task, marks in _LOGGED.items():
        seen = [word for word in words if marks & set(word.split("_"))]
        if seen:
            return _classifying(task, f"{seen[0]!r} is logged and no accuracy")
    return "binary" if _ends_in_a_sigmoid(model) else None


def _task_of_losses(names: Iterable[str]) -> str | None:
    """Return the task of losses and metrics with these names, or refuse it; None if unknown."""
    found = [_MEANINGS[name] for name in map(_plain, names) if name in _MEANINGS]
    # A loss of classes beside another one: the other one only helps.
    for task in ("multiclass", "binary", *dict.fromkeys(found)):
        if task in found:
            return _classifying(task, "its loss or metrics say so")
    return None


def as_classifier(network: NetworkWeights, task: str | None = None) -> NetworkWeights:
    """Return a network as a classifier of two classes or more.

    A head of one output is that of two classes: the logit z of one class is the logits z/2 and -z/2
    of both, so its kernel w becomes w/2 and -w/2, which changes none of its probabilities.

    Parameters
    ----------
    network : NetworkWeights
    task : {"binary", "multiclass"}, optional
        What it was trained for, by the user's word or as `declared_task` returns it. Without it, a
        network is refused whose shapes say that it is no classifier, or may be none.

    Raises
    ------
    UnsupportedModelError
        When the network classifies nothing, or that cannot be told.
    """
    outputs = network.layers[-1].shape[0]
    if outputs == 1:
        if task is not None:  # no classifier has one class
            layers = (*network.layers[:-1], _two_classes(network.layers[-1]))
            return dataclasses.replace(network, layers=layers)
        raise UnsupportedModelError(
            "The network has one output, so it is either a regression, which has no accuracy, or "
            "a classifier of two classes; pass task='binary' if it is a classifier."
        )
    if task == "binary" and outputs > 2:
        raise UnsupportedModelError(
            f"The network has {outputs} outputs, each of two classes, so it gives several labels "
            "at once, which have no one accuracy; pass task='multiclass' if exactly one is right."
        )
    if task is None:
        _refuse_by_shape(network, outputs)
    return network


def _are_heads(layers: tuple[Layer, ...]) -> bool:
    """Return whether two last layers take the same input, and neither the other one's output."""
    if len(layers) < 2 or any(layer.kind not in ("dense", "conv") for layer in layers):
        return False
    (first, width, *sizes), (second, taken, *more) = (layer.shape for layer in layers)
    return width == taken != first != second and {*sizes, *more} <= {1}


def _two_classes(head: Layer) -> Layer:
    kernel = np.asarray(head.kernel) / 2
    bias = None if head.bias is None else np.asarray(head.bias) / 2
    return dataclasses.replace(
        head,
        stored=np.concatenate([kernel, -kernel]),
        bias=None if bias is None else np.concatenate([bias, -bias]),
        gain=None,
    )


def _refuse_by_shape(network: NetworkWeights, outputs: int) -> None:
    first, last = network.layers[0], network.layers[-1]
    vocabularies = {
        size for layer in network.layers if layer.kind == "embedding" for size in layer.shape[:2]
    }
    reason = None
    if outputs >= _MANY_TOKENS and outputs in vocabularies:
        reason = f"it has {outputs} outputs, one for each of its tokens, as a language model has"
    elif last.kind == "transposed_conv" or (
        last.kind == "conv" and any(length > 1 for length in last.shape[2:])
    ):
        reason = (
            f"it ends in the convolution {last.name!r}, as networks do that return an image or a "
            "map"
        )
    elif (
        last.kind == first.kind == "dense"
        and outputs == first.shape[1] >= _MANY_OUTPUTS
        and min(layer.shape[0] for layer in network.layers) < outputs
    ):
        reason = f"it has as many outputs as inputs, {outputs}, as an autoencoder has"
    elif _are_heads(network.layers[-2:]):
        before = network.layers[-2]
        reason = (
            f"it ends in several heads, {before.name!r} of {before.shape[0]} outputs and "
            f"{last.name!r} of {outputs}, as a detector does"
        )
    if reason is not None:
        raise UnsupportedModelError(
            f"The network does not look like a classifier: {reason}; pass task='multiclass' if it "
            "is one."
        )


def _classifying(task: str, why: str) -> str:
    if task in TASKS:
        return task
    raise UnsupportedModelError(
        f"The network is for {task} and has no accuracy to estimate: {why}; pass "
        "task='multiclass' or task='binary' if it is a classifier after all."
    )


def _name_of(loss: Any) -> str:
    if isinstance(loss, str):
        return loss
    return str(getattr(loss, "__name__", type(loss).__name__))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _task_of_class(model: Any) -> str | None:
    config: Any = getattr(model, "config", None)
    name = type(model).__name__
    if hasattr(config, "problem_type"):  # a model of transformers
        given = {
            "regression": "regression",
            "multi_label_classification": "multi-label classification",
            "single_label_classification": "multiclass",
        }.get(str(config.problem_type))
        if given is not None:
            return given
        _, _, head = name.partition("For")
        for pattern, task in _HEADS:
            if re.search(pattern, head or name):
                alone = task == "multiclass" and getattr(config, "num_labels", 2) == 1
                return "regression" if alone else task
        if type(model).__module__.startswith("transformers.") and name.endswith("Model"):
            return "embedding"
    for kind in type(model).__mro__:
        for pattern, task in _CLASSES:
            if re.search(pattern, kind.__name__):
                return task
    return None


def _losses_of(model: Any) -> Iterator[Any]:
    """Yield the losses and metrics that a model holds, or is compiled with."""
    if hasattr(model, "compile") and hasattr(model, "loss") and hasattr(model, "layers"):  # Keras
        settings = getattr(getattr(model, "_compile_config", None), "config", None) or {}
        metrics = settings.get("metrics") if isinstance(settings, dict) else None
        losses = list(_flat(model.loss))
        names = [_plain(_name_of(one)) for one in losses]
        yield from losses
        # The accuracy of a single number that a regression is compiled with means nothing.
        if all(_MEANINGS.get(name) == "regression" for name in names) and names:
            outputs = getattr(model, "output_shape", None)
            wide = isinstance(outputs, tuple) and isinstance(outputs[-1], int) and outputs[-1] > 1
            if wide and any("acc" in _plain(_name_of(one)) for one in _flat(metrics)):
                yield "multiclassaccuracy"
    elif callable(getattr(model, "modules", None)):
        for module in model.modules():
            origin = type(module).__module__.partition(".")[0]
            if origin == "torchmetrics" or type(module).__name__.endswith("Loss"):
                yield module


def _flat(something: Any) -> Iterator[Any]:
    if isinstance(something, dict):
        something = list(something.values())
    if isinstance(something, (list, tuple)):
        for part in something:
            yield from _flat(part)
    elif something is not None:
        yield something


def _ends_in_a_sigmoid(model: Any) -> bool:
    """Return whether the last layer that a model calls is certain, and is a sigmoid."""
    layers = getattr(model, "layers", None)
    if isinstance(layers, list) and layers and hasattr(model, "compile"):  # Keras
        last = layers[-1]
        if getattr(last, "layers", None):
            return _ends_in_a_sigmoid(last)
        activation = getattr(last, "activation", None)
        return getattr(activation, "__name__", "") == "sigmoid"
    if type(model).__name__ == "Sequential" and len(model):  # PyTorch
        last = model[-1]
        return type(last).__name__ == "Sigmoid" or _ends_in_a_sigmoid(last)
    return False
