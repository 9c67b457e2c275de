"""Flower: the server estimates every client's update, and leaves out the unsound.

    python examples/federated_round.py

Needs the extra flower. Six clients share the digits; one has random labels and one never trains.
"""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights.federated.flower import AccuracyFromWeights


def network():
    convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


client_app, server_app = ClientApp(), ServerApp()


@client_app.train()
def train(message, context):
    number, model = context.node_config["partition-id"], network()
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)[number::6]
    images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
    labels = torch.randint(0, 10, (len(images),)) if number == 1 else labels[number::6]
    if number != 2:
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for rows in [rows for _ in range(8) for rows in torch.randperm(len(labels)).split(32)]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    about = MetricRecord({"num-examples": len(labels)})
    return Message(
        RecordDict({"arrays": ArrayRecord(model.state_dict()), "m": about}), reply_to=message
    )


@server_app.main()
def main(grid, context):
    strategy = AccuracyFromWeights(FedAvg(1.0, 0.0, min_available_nodes=6), only_sound=True)
    strategy.start(grid, ArrayRecord(network().state_dict()), num_rounds=3)
    for update in strategy.updates:
        verdict = "left out" if update.left_out else "kept"
        print(f"round {update.server_round}  {update.estimate}  {verdict}")


run_simulation(server_app, client_app, num_supernodes=6)
