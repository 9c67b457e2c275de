"""Flower: the server judges its clients' networks by their weights and averages the sound ones.

    python examples/federated_round.py

Needs the extra flower. One of five clients never trains. They run in this process; in yours, Flower
hands the grid to the ServerApp. The 300 images left out only show the truth.
"""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights.integrations.flower import AccuracyFromWeights

TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1  # as Flower's runtime does
pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)


def network(seed):
    torch.manual_seed(seed)
    convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


class Clients:
    def get_node_ids(self):
        return range(5)

    def send_and_receive(self, messages, timeout=None):
        return [self.train(message, message.metadata.dst_node_id) for message in messages]

    def train(self, message, client):
        model, rows = network(client), torch.arange(client, len(images) - 300, 5)
        if client != 1:
            model.load_state_dict(message.content["arrays"].to_torch_state_dict())
            optimizer = torch.optim.Adam(model.parameters(), 3e-3)
            for batch in rows.repeat(5).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
        arrays, counts = ArrayRecord(model.state_dict()), MetricRecord({"num-examples": len(rows)})
        return Message(RecordDict({"arrays": arrays, "metrics": counts}), reply_to=message)


ours = AccuracyFromWeights(FedAvg(fraction_evaluate=0), only_sound=True)
for name, strategy in {"FedAvg": FedAvg(fraction_evaluate=0), "sound updates only": ours}.items():
    model = network(0)
    end = strategy.start(Clients(), ArrayRecord(model.state_dict()), num_rounds=3)
    model.load_state_dict(end.arrays.to_torch_state_dict())
    truth = (model(images[-300:]).argmax(1) == labels[-300:]).float().mean()
    print(f"{name}: true accuracy {truth:.3f}")
for one in sorted(ours.updates, key=lambda one: (one.server_round, one.node_id)):
    fate = ", left out" if one.left_out else ""
    print(f"round {one.server_round}  client {one.node_id}  {one.estimate}{fate}")
