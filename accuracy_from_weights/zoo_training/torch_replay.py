"""Steps of training that a GPU repeats by itself: recorded once as a graph, then replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch

# Libraries set up their memory in the first calls, which no graph may hold.
_BEFORE_RECORDING = 3


class Replayed:
    """A function that works on the same tensors at each call; on a GPU it becomes one launch.

    Small networks take longer to launch from Python than to compute. The function may neither wait
    for the device nor depend on numbers that Python counts.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self._function = function
        self._device = device
        self._calls = 0
        self._stream: torch.cuda.Stream | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Call the function, or let the device repeat it."""
        if self.graph is not None:
            self.graph.replay()
            return
        if self._device.type != "cuda" or self._calls > _BEFORE_RECORDING:
            self._function()
            return
        with torch.cuda.device(self._device):
            self._stream = self._stream or torch.cuda.Stream()
            self._stream.wait_stream(torch.cuda.current_stream())
            if self._calls == _BEFORE_RECORDING:
                self.graph = self._recorded(self._stream)
            if self.graph is not None:
                self.graph.replay()
            else:
                with torch.cuda.stream(self._stream):
                    self._function()
                torch.cuda.current_stream().wait_stream(self._stream)
        self._calls += 1

    def _recorded(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph | None:
        """Record the function without running it; None where it cannot be recorded."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                self._function()
        except RuntimeError:
            # Some operation waits for the device: then Python launches each step.
            torch.cuda.synchronize()
            return None
        return graph
