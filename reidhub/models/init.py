"""What new layers start from."""

import torch
from torch import nn

from reidhub.models.base import ReidModel

_Norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)


@torch.no_grad()
def initialise(model: ReidModel) -> ReidModel:
    """Fill every tensor of ``model`` in place.

    Convolutions: He et al., arXiv 1502.01852, on the outgoing side, as arXiv 1512.03385 and its descendants do;
    fully connected layers: a normal distribution of deviation 0.01, as AlexNet's; normalisations: the identity. What an
    architecture starts otherwise, its ``initialise_rest`` fills last.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        elif isinstance(module, _Norm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    model.initialise_rest()
    return model
