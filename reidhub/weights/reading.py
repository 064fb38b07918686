"""Any checkpoint file becomes names and tensors, or an error in words."""

from pathlib import Path

from torch import Tensor

from reidhub.checkpoint import StateDictLayout
from reidhub.errors import WeightsError
from reidhub.weights.containers import open_container
from reidhub.weights.state_dict import find_state_dict

_ANY = StateDictLayout()


def read_weights(path: Path | str, *, layout: StateDictLayout = _ANY) -> dict[str, Tensor]:
    """The weights in a checkpoint file: zip or legacy format of `torch.save`, any Python since 2.7, or safetensors.

    What lies beside the weights (epoch, optimizer, arguments) is ignored; arrays of NumPy become tensors.

    Args:
        path: the file.
        layout: how the file wraps its tensors, where that is known; the rest is found out: tensors lie bare or under
            one key such as ``state_dict``, and ``module.`` before every key is taken off.

    Returns:
        A non-empty mapping of names to dense, finite, real CPU tensors, in the file's order.

    Raises:
        WeightsError: it is no such file, is damaged, or holds anything that only running code could bring back.
    """
    path = Path(path)
    try:
        with open_container(path, layout.encoding) as container:
            return find_state_dict(container, layout)
    except WeightsError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make pickle, zipfile and torch raise nearly anything
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({type(error).__name__})", hint=_AGAIN) from error


_AGAIN = "fetch the file again"
