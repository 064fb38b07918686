"""The exceptions: the drawing in the docstring is the tree."""

from reidhub import errors


def lines(kind: type, indent: str = "") -> list[str]:
    """The classes below one of them, as the docstring draws them."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    drawn = []
    for child in children:
        last = child is children[-1]
        drawn.append(f"{indent}{'└── ' if last else '├── '}{child.__name__}")
        drawn += lines(child, indent + ("    " if last else "│   "))
    return drawn


def test_the_docstring_draws_every_exception_below_its_base():
    drawing = errors.__doc__.split("    ReidhubError\n")[1].splitlines()
    drawn = [line.removeprefix("    ").partition(" (")[0] for line in drawing if "──" in line]
    assert drawn == lines(errors.ReidhubError)


def test_only_wrong_usage_ends_with_2():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind for kind in kinds if kind.exit_code == 2} == {
        kind for kind in kinds if issubclass(kind, errors.UsageError)
    }
