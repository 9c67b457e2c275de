"""Ignite: stop when the estimate stops rising, without an evaluator.

    python examples/ignite_trainer.py

Needs the extra ignite. The 300 images left out only show the truth.
"""

import torch
from ignite.engine import Events, create_supervised_trainer
from ignite.handlers import EarlyStopping
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from accuracy_from_weights.callbacks.ignite import AccuracyFromWeights

torch.manual_seed(0)
pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
loader = DataLoader(TensorDataset(images[:-300], labels[:-300]), batch_size=32, shuffle=True)

convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
trainer = create_supervised_trainer(model, optimizer, nn.functional.cross_entropy)

# It takes some training examples from the first batches.
ours = AccuracyFromWeights(features="weights+probes+log+sample")
ours.attach(trainer, model)  # before the handlers that use it


@trainer.on(Events.EPOCH_COMPLETED)
def show(engine):
    estimate = engine.state.metrics["accuracy_from_weights"]
    print(f"epoch {engine.state.epoch:2}  estimate {estimate:.3f}")


def score(engine):
    return engine.state.metrics["accuracy_from_weights"]


stop = EarlyStopping(patience=4, score_function=score, trainer=trainer)
trainer.add_event_handler(Events.EPOCH_COMPLETED, stop)
trainer.run(loader, max_epochs=20)

right = model(images[-300:]).argmax(1) == labels[-300:]
print(f"trained {trainer.state.epoch} of 20 epochs, true accuracy {right.float().mean():.3f}")
