"""Hugging Face: stop on the estimate and keep its best model, without an evaluation set.

    python examples/huggingface_trainer.py

Needs the extra huggingface. The 300 images left out only show the truth.
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

from accuracy_from_weights.callbacks.huggingface import AccuracyFromWeights
from accuracy_from_weights.stopping import Patience

torch.manual_seed(0)
pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
config.layer_type, config.num_labels = "basic", 10
model = ResNetForImageClassification(config)

with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        model,
        TrainingArguments(
            folder,
            num_train_epochs=6,
            per_device_train_batch_size=32,
            learning_rate=3e-3,
            save_strategy="best",
            load_best_model_at_end=True,
            metric_for_best_model="accuracy_from_weights",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=[
            {"pixel_values": image, "labels": label}
            for image, label in zip(images[:-300], labels[:-300], strict=True)
        ],
        callbacks=[AccuracyFromWeights(stopping=Patience(3))],
    )
    trainer.train()

for row in trainer.state.log_history:
    if "accuracy_from_weights" in row:
        print(f"epoch {row['epoch']:.0f}  estimate {row['accuracy_from_weights']:.3f}")
with torch.no_grad():
    answers = model.eval()(images[-300:]).logits.argmax(1)
print(f"true accuracy of the best: {(answers == labels[-300:]).float().mean():.3f}")
