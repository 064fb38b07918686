"""Parameters that a model has under several names."""

import pytest
import torch
from torch import nn

from reidhub.errors import StateDictError
from reidhub.weights import load_weights, untie


class Tied(nn.Module):
    """One layer under two names, and a second layer with its weight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.same = nn.Linear(3, 2)
        self.other = nn.Linear(3, 2)
        self.other.weight = self.one.weight


def test_tied_parameters_stay_one_parameter():
    torch.manual_seed(0)
    model, given = Tied(), untie(Tied().state_dict())

    load_weights(model, given, what="test")

    assert model.one.weight is model.same.weight is model.other.weight
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["same.bias", "other.weight"])
def test_file_with_two_values_for_a_tied_parameter_is_refused(name):
    model, given = Tied(), untie(Tied().state_dict())
    before = untie({name: tensor.clone() for name, tensor in model.state_dict().items()})
    given[name][-1] += 1

    with pytest.raises(StateDictError, match=rf"one.\w+ and {name} are one parameter .* two values") as caught:
        load_weights(model, given, what="test")

    assert caught.value.hint
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_tied_tensors_get_their_own_memory():
    tied = Tied().state_dict()

    separate = untie(tied)

    assert len({tensor.data_ptr() for tensor in separate.values()}) == len(separate) == len(tied)
    assert all(torch.equal(separate[name], tensor) for name, tensor in tied.items())
    assert separate["one.weight"] is tied["one.weight"]
