"""skorch: stop when the estimate stops rising, without a validation split.

    python examples/skorch_fit.py

Needs the extra skorch. The 300 images left out only show the truth.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from torch import nn

from accuracy_from_weights.callbacks.skorch import AccuracyFromWeights

torch.manual_seed(0)
pixels, labels = shuffle(*load_digits(return_X_y=True), random_state=0)
images = (pixels / 8 - 1).reshape(-1, 1, 8, 8).repeat(3, axis=2).repeat(3, axis=3)
images = images.astype("float32")


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
        pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.net = nn.Sequential(*convolutions, *pool, nn.Linear(16, 10))

    def forward(self, image):
        return self.net(image)


ours = AccuracyFromWeights(sample=(images[:-300], labels[:-300]))
stop = EarlyStopping("accuracy_from_weights", lower_is_better=False, patience=4)
net = NeuralNetClassifier(
    Network,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=3e-3,
    batch_size=32,
    max_epochs=20,
    train_split=None,
    iterator_train__shuffle=True,
    callbacks=[ours, stop],  # ours stands first
    verbose=0,
)
net.fit(images[:-300], labels[:-300])

for row in net.history:
    print(f"epoch {row['epoch']:2}  estimate {row['accuracy_from_weights']:.3f}")
truth = net.score(images[-300:], labels[-300:])
print(f"trained {len(net.history)} of 20 epochs, true accuracy {truth:.3f}")
