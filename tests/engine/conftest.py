"""One thread, as `gdcli run` has for small models: a second one waits in a loop, which costs much on busy cores."""

import torch

torch.set_num_threads(1)
