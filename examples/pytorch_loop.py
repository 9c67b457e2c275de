"""A PyTorch loop of your own: estimate, log and stop, with every image in training.

    python examples/pytorch_loop.py

Needs the extra torch. The 300 images left out only show the truth.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.stopping import Diverged, FirstOf, Patience

torch.manual_seed(0)
pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)

layers = []
for inputs in (1, 16, 16):
    layers += [nn.Conv2d(inputs, 16, 3, stride=2), nn.ReLU()]
model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

monitor = Monitor(sample=(images[:-300], labels[:-300]), stopping=FirstOf(Patience(4), Diverged()))
for epoch in range(20):
    for rows in torch.randperm(len(images) - 300).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
    seen = monitor.update(model, epoch)
    with torch.no_grad():
        truth = (model(images[-300:]).argmax(1) == labels[-300:]).float().mean()
    print(f"epoch {epoch + 1:2}  estimate {seen['accuracy_from_weights']:.3f}  truth {truth:.3f}")
    if monitor.should_stop:
        print(f"stopped: {monitor.decision.text}")
        break
