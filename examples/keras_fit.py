"""Keras: stop when the estimate stops rising, with every image in training.

    python examples/keras_fit.py

Needs the extra demo (or keras and any backend). The 300 images left out only show the truth.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # any backend will do

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.utils import shuffle

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights

keras.utils.set_random_seed(0)
pixels, labels = shuffle(*load_digits(return_X_y=True), random_state=0)
images = (pixels / 8 - 1).reshape(-1, 8, 8, 1).repeat(3, axis=1).repeat(3, axis=2)

model = keras.Sequential(
    [
        keras.Input((24, 24, 1)),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
ours = AccuracyFromWeights(sample=(images[:-300], labels[:-300]))
stop = keras.callbacks.EarlyStopping("accuracy_from_weights", mode="max", patience=4)
history = model.fit(
    images[:-300],
    labels[:-300],
    epochs=20,
    batch_size=32,
    verbose=0,
    callbacks=[ours, stop],  # ours stands first
)

log = history.history
for epoch, estimate in enumerate(log["accuracy_from_weights"], start=1):
    low, high = (log[f"accuracy_from_weights_{end}"][epoch - 1] for end in ("low", "high"))
    print(f"epoch {epoch:2}  estimate {estimate:.3f}  interval {low:.3f} to {high:.3f}")
_, truth = model.evaluate(images[-300:], labels[-300:], verbose=0)
print(f"trained {epoch} of 20 epochs, true accuracy {truth:.3f}")
