"""Random splits: sizes, no overlap, the same everywhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kit.data_sets import Shared, fill, list_backwards, reader
from vggfeat.data import ImageSet, base, folder, random_split
from vggfeat.errors import DataError, UsageError


@pytest.fixture
def read(tmp_path: Path, shared: Shared) -> Callable[[str], ImageSet]:
    return reader(tmp_path, shared)


def labelled(counts: dict[str, int]) -> ImageSet:
    names = sorted(counts)
    samples = [
        base.Sample(f"{name}/{n:03d}.jpg", Path(f"/{name}/{n:03d}.jpg"), k)
        for k, name in enumerate(names)
        for n in range(counts[name])
    ]
    return base.single_label("made", names, samples[::-1])


def drawn(images: ImageSet, rows: np.ndarray, name: str) -> set[str]:
    return {images.paths[row] for row in rows if images.paths[row].startswith(f"{name}/")}


@pytest.mark.parametrize(
    ("test_per_class", "sizes"),
    # classes of 2, 5, 9 and 40 images, 5 for training; of 2 and 5, one is left for the test
    [
        (None, {"a": (1, 1), "b": (4, 1), "c": (5, 4), "d": (5, 35)}),
        (3, {"a": (1, 1), "b": (4, 1), "c": (5, 3), "d": (5, 3)}),
    ],
)
def test_split_sizes(test_per_class: int | None, sizes: dict[str, tuple[int, int]]) -> None:
    images = labelled({"a": 2, "b": 5, "c": 9, "d": 40})
    train, test = random_split(images, 5, test_per_class, seed=0)
    found = {name: (len(drawn(images, train, name)), len(drawn(images, test, name))) for name in "abcd"}
    assert found == sizes
    assert not set(train) & set(test)
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


def test_split_of_caltech101_has_the_sizes_of_the_paper(read: Callable[[str], ImageSet]) -> None:
    images = read("real caltech101")
    train, test = random_split(images, 30, 50, seed=0)
    assert (len(train), len(test)) == (3060, 2995)  # 102 * 30; the sum of min(n - 30, 50) over the classes
    assert images.labels[train].sum(axis=0).tolist() == [30] * 102
    assert not set(train) & set(test)


def test_split_is_the_same_everywhere() -> None:
    # fixed values: neither the platform nor a new numpy may change them
    images = labelled({"a": 6, "b": 5})
    train, test = random_split(images, 3, 2, seed=1)
    assert (train.tolist(), test.tolist()) == ([2, 3, 5, 6, 9, 10], [0, 1, 7, 8])


def test_split_of_a_class_does_not_depend_on_other_classes() -> None:
    few, many = labelled({"b": 20, "d": 30}), labelled({"a": 7, "b": 20, "c": 50, "d": 30})
    for seed in range(3):
        one, other = random_split(few, 10, 5, seed), random_split(many, 10, 5, seed)
        for name in "bd":
            for part in (0, 1):
                assert drawn(few, one[part], name) == drawn(many, other[part], name)


def test_splits_of_different_seeds_and_classes_differ() -> None:
    images = labelled({"a": 40, "b": 40})
    splits = [random_split(images, 20, None, seed) for seed in range(20)]
    assert len({tuple(split.train) for split in splits}) == 20
    places = [{path[2:] for path in drawn(images, splits[0].train, name)} for name in "ab"]
    assert places[0] != places[1]


def test_split_draws_each_image_equally_often() -> None:
    images = labelled({"a": 10, "b": 10})
    times = np.zeros(20)
    for seed in range(1000):
        times[random_split(images, 3, None, seed).train] += 1
    # 1000 draws of probability 0.3: standard deviation 14.5
    assert (abs(times - 300) < 5 * 14.5).all()


def test_split_does_not_depend_on_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = fill(tmp_path, *(f"{name}/{n}.jpg" for name in "ab" for n in range(20)))
    one = folder.read(top)
    list_backwards(monkeypatch)
    other = folder.read(top)
    for a, b in zip(random_split(one, 10, 5, 7), random_split(other, 10, 5, 7), strict=True):
        assert [one.paths[row] for row in a] == [other.paths[row] for row in b]


def test_invalid_splits() -> None:
    with pytest.raises(DataError, match="class b has 1 images"):
        random_split(labelled({"a": 9, "b": 1}), 5, 5, seed=0)
    images = labelled({"a": 9, "b": 9})
    for train, test, seed, message in (
        (0, 5, 0, "at least 1 training image and 1 test image"),
        (5, 0, 0, "at least 1 training image and 1 test image"),
        (5, 5, -1, "a seed must be 0 or more, not -1"),
    ):
        with pytest.raises(UsageError, match=message):
            random_split(images, train, test, seed)
