"""A 784-256-10 perceptron on an NPZ, 3 epochs, as one would write it: plain_mlp.py FILE [--loss]

With --loss it prints what `gdcli run` does, the loss of all rows after each epoch; else that of the last batch.
"""

import sys

import numpy as np
import torch
from torch import nn, optim

torch.set_num_threads(1)
torch.manual_seed(0)
with np.load(sys.argv[1]) as file:
    x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"])
model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.01)
for epoch in range(1, 4):
    for chosen in torch.randperm(len(x)).split(64):
        loss = criterion(model(x.index_select(0, chosen)), y.index_select(0, chosen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if "--loss" in sys.argv:
        with torch.no_grad():
            loss = criterion(model(x), y)
    print(f"epoch {epoch}, loss {loss.item():.6f}")
