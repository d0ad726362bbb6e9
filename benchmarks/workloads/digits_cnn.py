"""A small convolutional network on 8 x 8 digits: epochs of half a second, 2.5 MB of state."""

import clock
import torch
from sklearn.datasets import load_digits
from torch import nn

import flor

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
data = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
target = torch.tensor(labels)
train = torch.utils.data.TensorDataset(data[:1500], target[:1500])
loader = torch.utils.data.DataLoader(train, batch_size=32, shuffle=True)


def new():
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip
    return net, torch.optim.Adam(net.parameters(), lr=1e-3)


def learn(net, optimizer, x, y):
    loss = nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def piece(net, optimizer):
    return lambda: [learn(net, optimizer, data[:32], target[:32]) for _ in range(4)]


net, optimizer = new()
clock.beside(piece(*new()), steps=4)
clock.start()
with flor.checkpointing(net=net, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(30)):
        net.train()
        for x, y in flor.loop("step", loader):
            loss = learn(net, optimizer, x, y)
            flor.log("loss", loss.item())
            clock.beat()
        net.eval()
        with torch.no_grad():
            flor.log("accuracy", (net(data[1500:]).argmax(1) == target[1500:]).float().mean().item())
clock.stop()
