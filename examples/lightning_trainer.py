"""Lightning: stop when the estimate stops rising, without a validation loop.

    python examples/lightning_trainer.py

Needs the extra lightning. The 300 images left out only show the truth.
"""

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights


class Network(LightningModule):
    def __init__(self):
        super().__init__()
        convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
        pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.net = nn.Sequential(*convolutions, *pool, nn.Linear(16, 10))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 3e-3)


seed_everything(0, verbose=False)
pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
loader = DataLoader(TensorDataset(images[:-300], labels[:-300]), batch_size=32, shuffle=True)

# It takes some training examples from the first batches.
ours = AccuracyFromWeights(features="weights+probes+log+sample", verbose=True)
stop = EarlyStopping("accuracy_from_weights", mode="max", patience=4)
trainer = Trainer(
    max_epochs=20,
    callbacks=[ours, stop],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
module = Network()
trainer.fit(module, loader)

right = module.net(images[-300:]).argmax(1) == labels[-300:]
print(f"trained {trainer.current_epoch} of 20 epochs, true accuracy {right.float().mean():.3f}")
