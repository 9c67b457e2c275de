"""transformers' Trainer: stop when the estimate stops rising, without evaluation data.

    python examples/huggingface_trainer.py

Needs the extra huggingface. The 300 images left out only show the truth.
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from accuracy_from_weights.callbacks.huggingface import AccuracyFromWeights
from accuracy_from_weights.stopping import Patience


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
        pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.net = nn.Sequential(*convolutions, *pool, nn.Linear(16, 10))

    def forward(self, image, labels=None):
        logits = self.net(image)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


set_seed(0)
pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
pairs = [{"image": x, "labels": y} for x, y in zip(images[:-300], labels[:-300], strict=True)]

with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(
        folder,
        num_train_epochs=20,
        per_device_train_batch_size=32,
        learning_rate=3e-3,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )
    ours = AccuracyFromWeights(features="weights+probes+log+sample", stopping=Patience(4))
    trainer = Trainer(Network(), settings, train_dataset=pairs, callbacks=[ours])
    trainer.remove_callback(PrinterCallback)  # whose lines are long
    trainer.train()

for entry in trainer.state.log_history:
    if "accuracy_from_weights" in entry:
        print(f"epoch {entry['epoch']:2.0f}  estimate {entry['accuracy_from_weights']:.3f}")
right = trainer.model.net(images[-300:]).argmax(1) == labels[-300:]
print(f"trained {trainer.state.epoch:.0f} of 20 epochs, true accuracy {right.float().mean():.3f}")
