"""Trains the codec as the two papers say and exports what the services run."""

from icm import torchvision_ops

# CompressAI imports torchvision, which may not fit the torch that is installed.
torchvision_ops.declare()
