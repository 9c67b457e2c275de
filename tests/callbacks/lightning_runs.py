"""Real, tiny Trainer runs of Lightning, under either of the framework's names."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.callbacks.scripted import digits, seed_all

KEY = "accuracy_from_weights"
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]
QUIET = (
    # Lightning on its own account, about runs as small as these.
    "ignore:.*does not have many workers",
    "ignore:.*The number of training batches",
    "ignore:.*but have no `val_dataloader`",
    "ignore:.*isinstance.treespec, LeafSpec",
    # What it says about a key that should not have been sent to loggers is an error of ours.
    "error:.*but have no logger configured",
)


def make_network(root, learning_rate: float = 0.05):
    class Network(root.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Conv2d(1, 4, 3, stride=2),
                torch.nn.ReLU(),
                torch.nn.Dropout(0.2),
                torch.nn.Flatten(),
                torch.nn.Linear(36, 10),
            )
            self.snapshots: dict[int, dict[str, torch.Tensor]] = {}

        def training_step(self, batch, index):
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss, logger=False)
            return loss

        def validation_step(self, batch, index):
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("val_loss", loss, logger=False)

        def on_train_epoch_end(self):
            self.snapshots[self.current_epoch] = {
                key: value.clone() for key, value in self.state_dict().items()
            }

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=learning_rate, momentum=0.9)

    seed_all(0)
    return Network()


def loader(shuffle: bool = True) -> DataLoader:
    x, y = digits(128)
    data = TensorDataset(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y))
    return DataLoader(data, batch_size=32, shuffle=shuffle)


def fit(root, callbacks, epochs=3, *, validate=False, network=None, ckpt_path=None, **more):
    network = make_network(root) if network is None else network
    trainer = root.Trainer(
        **{
            "max_epochs": epochs,
            "accelerator": "cpu",
            "callbacks": callbacks,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **more,
        }
    )
    data = {"val_dataloaders": loader(shuffle=False)} if validate else {}
    if "weights_only" in inspect.signature(trainer.fit).parameters:  # since Lightning 2.6
        data["weights_only"] = True
    trainer.fit(network, loader(), **data, ckpt_path=ckpt_path)
    return trainer, network


def stopper(root, **more):
    return root.callbacks.EarlyStopping(**{"monitor": KEY, "mode": "max", "patience": 2, **more})


def saver(root, folder: Path, **more):
    return root.callbacks.ModelCheckpoint(
        **{"dirpath": folder, "monitor": KEY, "mode": "max", "filename": "{epoch}", **more}
    )


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
