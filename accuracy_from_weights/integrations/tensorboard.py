"""One chart in TensorBoard: estimate, interval as a band, and true accuracy, of every run."""

from __future__ import annotations

import os

from accuracy_from_weights.errors import MissingDependencyError
from accuracy_from_weights.io.logged_names import DEFAULT_NAME

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError as error:
    raise MissingDependencyError(
        "TensorBoard is not installed; run pip install tensorboard."
    ) from error

_DT_STRING = 7


def add_chart(
    folder: str | os.PathLike[str], estimate: str = DEFAULT_NAME, truth: str | None = None
) -> None:
    """Add a chart to TensorBoard's tab "Custom Scalars": the estimate with its interval as a band.

    Parameters
    ----------
    folder : str or Path
        The log folder that TensorBoard is started with, or one below it. Call this once, before or
        after training; the chart shows every run in the folder.
    estimate : str
        Under which name the estimate was written. Defaults to ``"accuracy_from_weights"``;
        Keras' callback writes ``"epoch_accuracy_from_weights"`` and transformers
        ``"train/accuracy_from_weights"``.
    truth : str, optional
        Under which name the accuracy on validation data was written, to be drawn in the same chart.

    Examples
    --------
    >>> add_chart("runs", truth="val_acc")  # doctest: +SKIP
    """
    content = layout_pb2.MarginChartContent()
    lines = [(estimate, f"{estimate}_low", f"{estimate}_high")]
    # A line without a band is one whose band has no width.
    lines += [] if truth is None else [(truth, truth, truth)]
    for value, lower, upper in lines:
        content.series.add(value=value, lower=lower, upper=upper)
    chart = layout_pb2.Chart(title="estimate, interval and truth", margin=content)
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="accuracy", chart=[chart])])
    value = Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME)
        ),
        tensor=TensorProto(dtype=_DT_STRING, string_val=[layout.SerializeToString()]),
    )
    writer = EventFileWriter(os.fspath(folder))
    writer.add_event(Event(step=0, summary=Summary(value=[value])))
    writer.close()
