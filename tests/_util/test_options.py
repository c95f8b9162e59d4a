"""Functions that take the fields of settings objects as keywords."""

import inspect
from dataclasses import dataclass

import pytest

from vggfeat._util.options import takes, with_parameters_of


@dataclass(frozen=True)
class Shape:
    side: int = 3
    round: bool = False


@dataclass(frozen=True)
class Paint:
    colour: str = "red"


@takes(shape=Shape, paint=Paint, positional=["side"])
def draw(name, *, shape, paint, copies=1):
    """Draw a shape."""
    return name, shape, paint, copies


def test_keywords_make_the_objects():
    assert draw("a") == ("a", Shape(), Paint(), 1)
    assert draw("a", 5, colour="blue", copies=2) == ("a", Shape(side=5), Paint("blue"), 2)
    assert draw(name="a", side=5, round=True) == ("a", Shape(5, True), Paint(), 1)


def test_ready_objects_are_passed_on():
    shape = Shape(9)
    assert draw("a", shape=shape, colour="blue")[1] is shape
    assert draw("a", shape=None, side=4)[1] == Shape(4)


def test_the_signature_shows_fields_and_objects():
    assert str(inspect.signature(draw)) == (
        "(name, side: int = 3, *, copies=1, round: bool = False, colour: str = 'red', "
        "shape: 'Shape | None' = None, paint: 'Paint | None' = None)"
    )
    assert draw.__doc__ == "Draw a shape."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": Shape(), "side": 4}, r"draw\(\) got shape and also side"),
        ({"size": 4}, "unexpected keyword argument 'size'"),
    ],
)
def test_invalid_arguments(options, said):
    with pytest.raises(TypeError, match=said):
        draw("a", **options)
    with pytest.raises(TypeError, match="missing a required argument: 'name'"):
        draw()


def test_a_class_with_the_parameters_of_settings_keeps_them_as_they_are():
    class Estimator:
        @with_parameters_of(Shape, positional=["side"])
        def __init__(self, **options):
            self.options = options

    assert Estimator(side="unchecked").options == {"side": "unchecked", "round": False}
    assert Estimator(7).options == {"side": 7, "round": False}
    assert str(inspect.signature(Estimator)) == "(side: int = 3, *, round: bool = False)"


@takes(shape=Shape, paint=Paint, without=["side"])
def draw_sides(sides, *, shape, paint):
    return [shape(side=side) for side in sides], paint


def test_a_field_that_the_function_gives_itself():
    assert draw_sides([1, 2], round=True, colour="blue") == ([Shape(1, True), Shape(2, True)], Paint("blue"))
    assert draw_sides([1], shape=Shape(9, True)) == ([Shape(1, True)], Paint())
    with pytest.raises(TypeError, match="unexpected keyword argument 'side'"):
        draw_sides([1], side=2)
    with pytest.raises(TypeError, match=r"draw_sides\(\) got shape and also round"):
        draw_sides([1], shape=Shape(), round=True)
