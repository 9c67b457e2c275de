"""Files that several tests read, damage or rename."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.weights.networks import paper_cnn


@pytest.fixture(scope="session")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    pair = paper_cnn()
    state = pair.torch_module.state_dict()
    pair.keras_model.save(folder / "model.keras")
    pair.keras_model.save_weights(folder / "model.weights.h5")
    pair.keras_model.save(folder / "model.h5")
    torch.save(state, folder / "model.pt")
    torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "model.safetensors")
    np.savez(folder / "model.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    return {path.name: path.read_bytes() for path in folder.iterdir()}
