import torch
from harness import log, loop
from torch import nn

torch.manual_seed(3)
X = torch.randn(256, 20)
y = (X.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _epoch in loop(range(6)):
    total = 0.0
    for i in torch.randperm(256).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X[i]), y[i])
        loss.backward()
        optimizer.step()
        total += loss.item()
    log("total", total)
    log("weights", model.state_dict())
    log("grad", model[0].weight.grad)
