"""The examples in docstrings of public names run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import vtcd_jax


def examples() -> dict[str, doctest.DocTest]:
    """Name -> the examples of its docstring, and of its methods."""
    found, finder = {}, doctest.DocTestFinder(recurse=True, exclude_empty=True)
    for room in vtcd_jax.__all__:
        module = importlib.import_module(f"vtcd_jax.{room}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                scope = vars(inspect.getmodule(inspect.unwrap(value)) or module)
                for test in finder.find(inspect.unwrap(value), f"{room}.{name}", globs=dict(scope)):
                    if test.examples:
                        found[test.name] = test
    return found


EXAMPLES = examples()


def test_there_are_examples():
    assert {"models.wrap", "models.forward", "models.Edit.set"} <= set(EXAMPLES)


@pytest.mark.compile
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_print_what_they_say(name):
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(EXAMPLES[name])
    assert outcome.attempted and not outcome.failed
