"""Document 4's program 4.5 as one would write it: one step of backpropagation through a 2-2-2 net, printed."""

import torch
from torch import nn, optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(2, 2)
        self.linear2 = nn.Linear(2, 2)
        self.linear1.weight.data = torch.tensor([[0.15, 0.20], [0.25, 0.30]])
        self.linear2.weight.data = torch.tensor([[0.40, 0.45], [0.50, 0.55]])
        self.linear1.bias.data = torch.tensor([0.35])
        self.linear2.bias.data = torch.tensor([0.60])

    def forward(self, x):
        x = torch.sigmoid(self.linear1(x))
        return torch.sigmoid(self.linear2(x))


x = torch.tensor([[0.05, 0.10]])
y = torch.tensor([[0.01, 0.99]])

model = Net()
output = model(x)
print(output)
loss = torch.sum((output - y) ** 2) / 2
print(loss)

optimizer = optim.SGD(model.parameters(), lr=0.5)
optimizer.zero_grad()
loss.backward()
print(model.linear1.weight.grad)
print(model.linear2.weight.grad)

optimizer.step()
print(model.state_dict())
