"""A pytest plugin: convolutions by PyTorch's own kernels, for tools that cuDNN's kernels do not run under."""

import torch

torch.backends.cudnn.enabled = False
