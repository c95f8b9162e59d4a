"""The public API is documented in numpydoc, and its examples are right."""

import ast
import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from docstring_parser import DocstringStyle, parse

import vggfeat

PACKAGE = Path(vggfeat.__file__).parent
MODULES = ["vggfeat", *(found.name for found in pkgutil.walk_packages([str(PACKAGE)], "vggfeat."))]
# What users import: the package, its packages, and the modules of the user-facing API.
PUBLIC = [
    "vggfeat",
    *(
        f"vggfeat.{found.name}"
        for found in pkgutil.iter_modules([str(PACKAGE)])
        if found.ispkg and found.name != "_util"
    ),
    *(f"vggfeat.{name}" for name in ("aggregate", "classify", "descriptors", "golden", "images", "metrics", "spec")),
]


def public_names():
    for module in PUBLIC:
        for name in getattr(importlib.import_module(module), "__all__", ()):
            yield module, name


NAMES = sorted({(module, name) for module, name in public_names() if not name.startswith("__")})


def documented(thing):
    """Parameters and attributes that the docstring of a function, or those of a class and its bases, explain."""
    docs = [thing.__doc__ or ""]
    if inspect.isclass(thing):
        docs += [base.__doc__ or "" for base in thing.__mro__[1:] if base.__module__.startswith("vggfeat")]
    return {
        name.strip().lstrip("*")
        for doc in docs
        for found in parse(doc, DocstringStyle.NUMPYDOC).params
        for name in found.arg_name.split(",")
    }


def parameters(thing):
    return {name for name in inspect.signature(thing).parameters if name not in ("self", "args", "kwargs")}


@pytest.mark.parametrize("module", PUBLIC)
def test_a_package_says_what_is_public(module):
    found = importlib.import_module(module)
    assert found.__doc__, "a package opens with a map of its files"
    assert found.__all__
    for name in found.__all__:
        assert getattr(found, name) is not None
    assert len(set(found.__all__)) == len(found.__all__)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda word: word)
def test_public_names_are_documented(module, name):
    thing = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # a constant, a type, a module
    doc = parse(thing.__doc__ or "", DocstringStyle.NUMPYDOC)
    assert doc.short_description, "a summary"
    assert doc.short_description.rstrip().endswith((".", ":")), "the summary is a sentence"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    missing = parameters(thing) - documented(thing)
    assert not missing, f"not documented: {', '.join(sorted(missing))}"
    if inspect.isfunction(thing):
        returns = inspect.signature(thing).return_annotation
        assert returns in (None, "None") or doc.returns or doc.many_returns, "what it returns"
    else:
        for method, value in vars(thing).items():
            if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(getattr(thing, method)), f"{method} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    source = importlib.util.find_spec(name).origin
    if ">>>" not in Path(source).read_text(encoding="utf-8"):
        return
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_module_and_every_public_definition_has_a_docstring():
    """Modules, and classes and functions whose names don't begin with an underscore; methods of Protocols too."""
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{file.relative_to(PACKAGE)} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file.relative_to(PACKAGE)}: {node.name} has no docstring"
