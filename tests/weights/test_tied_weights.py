"""Parameters that a model has under several names."""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reidhub.errors import StateDictError
from reidhub.weights import load_weights
from reidhub.weights.safetensors_file import serialise


class Tied(nn.Module):
    """One layer under two names, and a second layer with its weight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.same = nn.Linear(3, 2)
        self.other = nn.Linear(3, 2)
        self.other.weight = self.one.weight


def copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_tied_parameters_stay_one_parameter():
    torch.manual_seed(0)
    model, given = Tied(), copy(Tied().state_dict())

    load_weights(model, given, what="test")

    assert model.one.weight is model.same.weight is model.other.weight
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["same.bias", "other.weight"])
def test_file_with_two_values_for_a_tied_parameter_is_refused(name):
    model, given = Tied(), copy(Tied().state_dict())
    before = copy(model.state_dict())
    given[name][-1] += 1

    with pytest.raises(StateDictError, match=rf"one.\w+ and {name} are one parameter .* two values") as caught:
        load_weights(model, given, what="test")

    assert caught.value.hint
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_tied_tensors_are_written_once_for_each_name(tmp_path):
    tied = Tied().state_dict()
    path = tmp_path / "tied.safetensors"

    path.write_bytes(b"".join(serialise(tied, {})))

    got = load_file(path)
    assert got.keys() == tied.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in tied.items())
