"""LSTM and GRU layers that `torch.func.vmap` can stack, which PyTorch's own layers do not allow."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer; its weights have the names and the layout of ``nn.LSTM``.

    It takes vectors of ``features`` numbers, and its state has ``width``. ``unrolled`` computes
    step by step with plain operations, which `torch.func.vmap` can stack; by default PyTorch's own
    kernel runs.
    """

    def __init__(self, kind: str, features: int, width: int) -> None:
        super().__init__()
        own = nn.LSTM(features, width) if kind == "lstm" else nn.GRU(features, width)
        for name, parameter in own.named_parameters():
            self.register_parameter(name, parameter)
        self._kind = kind
        self.unrolled = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the states after each step: (n, length, width) of (n, length, features)."""
        weights: list[Tensor] = list(self.parameters())
        if self.unrolled:
            return self._unroll(x, *weights)
        state = x.new_zeros(1, len(x), weights[1].shape[1])
        # Biases, layers, dropout, training, both directions, batch first.
        options = (True, 1, 0.0, self.training, False, True)
        if self._kind == "lstm":
            return torch.lstm(x, (state, state), weights, *options)[0]
        return torch.gru(x, state, weights, *options)[0]

    def _unroll(
        self, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor
    ) -> Tensor:
        inputs = x @ w_in.mT + b_in
        h = cell = x.new_zeros(len(x), w_state.shape[1])
        states = []
        for step in range(x.shape[1]):
            of_input, of_state = inputs[:, step], h @ w_state.mT + b_state
            if self._kind == "lstm":
                gate, forget, new, out = (of_input + of_state).chunk(4, -1)
                cell = forget.sigmoid() * cell + gate.sigmoid() * new.tanh()
                h = out.sigmoid() * cell.tanh()
            else:
                r_in, z_in, n_in = of_input.chunk(3, -1)
                r_state, z_state, n_state = of_state.chunk(3, -1)
                new = (n_in + (r_in + r_state).sigmoid() * n_state).tanh()
                keep = (z_in + z_state).sigmoid()
                h = new + keep * (h - new)
            states.append(h)
        return torch.stack(states, 1)
