"""Training, piece by piece: settings, draws, crops, colours, the learning rate, what a net starts from."""

import dataclasses
import inspect
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.training_photos import photo
from vggfeat import images, nets, weights
from vggfeat._util.json_files import parse_json
from vggfeat.errors import DataError, UsageError, WeightsError
from vggfeat.localization.settings import BoxRecipe
from vggfeat.nets import MAX_WIDTH
from vggfeat.train import Recipe, draws
from vggfeat.train.augmentation import AugmentationSettings
from vggfeat.train.chain import stages
from vggfeat.train.crops import centre_window, crop_of, cut, random_window
from vggfeat.train.loading import Crops, StepPlan, centre_keys
from vggfeat.train.objective import Classes
from vggfeat.train.pixel_statistics import ILSVRC, SAMPLE, PixelStatistics, measure, sample
from vggfeat.train.plateau import Plateau
from vggfeat.train.ranks import Ranks
from vggfeat.train.sets import Photos
from vggfeat.train.settings import TrainingSettings
from vggfeat.train.start import initial_net
from vggfeat.train.state import Start

GREY = PixelStatistics((100.0, 110.0, 120.0), (0.2, 0.02, 0.01), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
ALONE = Ranks(torch.device("cpu"))


# ---- the recipe


def test_the_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.batch, recipe.momentum, recipe.weight_decay, recipe.dropout) == (256, 0.9, 5e-4, 0.5)
    assert (recipe.drops, recipe.epochs, recipe.scales, recipe.colour) == (3, 74, (256, 256), 0.1)
    assert Recipe(scale="256-512").scales == (256, 512)
    assert Recipe(scale="256-512").test_scale == 384  # Sect. 4.1: 0.5 (Smin + Smax)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"net": "F"}, "no net 'F'; the nets are A, "),
        ({"width": 0.001}, "width 0.001 leaves a layer of 64 channels with none"),
        ({"width": float("nan")}, "width must be above 0 and at most 16, not nan"),
        ({"width": 1e9}, "width must be above 0 and at most 16"),
        ({"scale": "200"}, "scale '200' is invalid; S is from 224 to 2048"),
        ({"scale": "512-256"}, "scale '512-256' is invalid; S is from 224 to 2048, the smaller first"),
        ({"scale": "big"}, "scale 'big' is invalid; give S as 256 or 384, or a range as 256-512"),
        ({"scale": "256-99999"}, "scale '256-99999' is invalid"),
        ({"init": "zeros"}, "no init 'zeros'; take one of glorot, he, random, random-0.1, from:FILE"),
        ({"fill": "from:x"}, "no fill 'from:x'; take one of glorot, he, random, random-0.1"),
        ({"finetune": "fc"}, "finetune fc trains .* give init from:FILE"),
        ({"finetune": "fc6"}, "no finetune 'fc6'; take one of all, fc"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
        ({"lr": 0.0}, "lr must be above 0, not 0.0"),
        ({"lr": float("nan")}, "lr must be above 0, not nan"),
        ({"warmup": -1.0}, "warmup must be at least 0, not -1.0"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"weight_decay": float("inf")}, "weight_decay must be at least 0, not inf"),
        ({"colour": float("nan")}, "colour must be at least 0, not nan"),
        ({"precision": "float16"}, "no precision 'float16'; take one of auto, float32, bfloat16"),
        ({"statistics": "mine"}, "no statistics 'mine'; take one of auto, own, ilsvrc"),
        ({"seed": 2**64}, "seed must be at most 9223372036854775807"),
    ],
    ids=str,
)
def test_invalid_settings_are_refused_in_one_line(wrong, said):
    with pytest.raises(UsageError, match=said) as error:
        Recipe(**wrong)
    assert "\n" not in str(error.value)


def test_settings_load_neither_torch_nor_numpy():
    heavy = "torch", "numpy", "pandas", "pyarrow"
    code = "import sys; from vggfeat.train.recipe import Recipe; from vggfeat.train import Recipe; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & set(heavy)


def test_every_setting_has_a_help_text_and_a_default():
    described = []
    for kind in (TrainingSettings, AugmentationSettings, Recipe):
        section = inspect.getdoc(kind).partition("Parameters\n----------\n")[2].partition("\n\nRaises")[0]
        described += [line.partition(" : ")[0] for line in section.splitlines() if not line.startswith(" ")]
    assert described == [field.name for field in dataclasses.fields(Recipe)]
    free = {field.name for field in dataclasses.fields(Recipe) if field.metadata.get("free")}
    assert Recipe().fixed().keys() == set(described) - free and "epochs" in free and "seed" not in free


@pytest.mark.parametrize("width", [1 / 64, 1, MAX_WIDTH, 1.01 * MAX_WIDTH, 0, -1, float("nan"), float("inf")])
def test_the_widths_that_can_be_trained_are_those_that_can_be_saved(tmp_path, width):
    """Values that are not finite are refused last, so that nothing large is written."""
    try:
        shapes = nets.tensor_shapes("A", Recipe(net="A", width=width).width, top="pool5")
        said = "conv1_1.* finite"
    except UsageError:
        shapes, said = nets.tensor_shapes("A", 1, top="pool5"), "width must be above 0"
    tensors = {name: torch.tensor(float("nan")).expand(shape) for name, shape in shapes.items()}
    about = {"lineage": "random", "source": "random", "licence": "Apache-2.0"}
    with pytest.raises(WeightsError, match=said):
        weights.save(tmp_path / "x.safetensors", tensors, net="A", width=width, preprocessing=weights.OXFORD, **about)
    assert (said == "width must be above 0") == (not 0 < width <= MAX_WIDTH)


# ---- draws


def test_an_epochs_order_is_a_permutation_of_its_own():
    first, second = draws.order(3, 0, 1000), draws.order(3, 1, 1000)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first == second).mean() < 0.05
    assert (draws.order(4, 0, 1000) == first).mean() < 0.05


def test_an_augmentation_depends_on_seed_epoch_and_row_alone():
    before = draws.augmentation(1, 2, 3)
    draws.augmentation(1, 2, 4), draws.order(1, 2, 50)
    again = draws.augmentation(1, 2, 3)
    assert before[:4] == again[:4] and (before.colour == again.colour).all()
    others = [
        draws.augmentation(2, 2, 3),
        draws.augmentation(1, 3, 3),
        draws.augmentation(1, 2, 2),
        draws.augmentation(1, 3, 2),
    ]
    assert len({other.scale for other in others} | {before.scale}) == 5


def test_augmentations_are_uniform_and_colours_normal():
    all_drawn = [draws.augmentation(0, epoch, row) for epoch in range(4) for row in range(500)]
    uniform = np.array([drawn[:4] for drawn in all_drawn])
    assert uniform.min() >= 0 and uniform.max() < 1
    assert np.abs(uniform.mean(0) - 0.5).max() < 4 / np.sqrt(12 * 2000)  # four standard errors
    normal = np.array([drawn.colour for drawn in all_drawn])
    assert normal.shape == (2000, 3)
    assert np.abs(normal.mean(0)).max() < 4 / np.sqrt(2000)
    assert np.abs(normal.var(0) - 1).max() < 4 * np.sqrt(2 / 2000)
    together = np.corrcoef(np.hstack([uniform, normal]).T) - np.eye(7)
    assert np.abs(together).max() < 4 / np.sqrt(2000)


def test_dropout_is_drawn_anew_for_each_step_and_process():
    seeds = {draws.step_seed(0, e, s, r) for e in range(5) for s in range(5) for r in range(3)}
    assert len(seeds) == 75 and all(0 <= seed < 2**63 for seed in seeds)


# ---- crops


def picture(height, width, seed=0):
    """Smooth structure and noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(height)[:, None, None] / 9) + np.cos(np.arange(width)[None, :, None] / 7)
    return (128 + 40 * wave + rng.normal(0, 25, (height, width, 3))).clip(0, 255).astype(np.uint8)


def whole(pixels, s):
    """The rescaled image that descriptors are made of, float (h, w, 3)."""
    return images.rescale(torch.from_numpy(pixels).permute(2, 0, 1), s).permute(1, 2, 0).numpy()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 500),
    st.integers(20, 500),
    st.integers(224, 420),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_a_crop_is_that_of_the_whole_rescaled_image(height, width, s, y, x, seed):
    height = max(height, width // 8)  # not a line of pixels: the whole image would be enormous
    pixels = picture(height, width, seed)
    h, w = images.rescaled_size(height, width, s)
    top, left = int(y * (h - 224)), int(x * (w - 224))
    crop = cut(pixels, s, top, left)
    assert crop.shape == (224, 224, 3) and crop.dtype == np.uint8
    expected = whole(pixels, s)[top : top + 224, left : left + 224]
    assert np.abs(crop - expected).max() <= 1.01  # two roundings, of half a level each, and fixed-point weights


def test_the_ends_of_an_image_can_be_cropped():
    pixels = picture(313, 977)
    h, w = images.rescaled_size(313, 977, 301)
    last = cut(pixels, 301, h - 224, w - 224)
    assert np.abs(last - whole(pixels, 301)[-224:, -224:]).max() <= 1


def drawn(scale=0.0, top=0.0, left=0.0, mirror=0.9):
    return draws.Augmentation(scale, top, left, mirror, np.zeros(3))


def random_crop(pixels, scales, drawn, **options):
    return crop_of(pixels, random_window(pixels.shape[:2], scales, drawn, **options))


def test_a_random_crop_mirrors_and_moves():
    pixels = picture(300, 256)
    crop = random_crop(pixels, (256, 256), drawn())
    assert (crop == pixels[:224, :224]).all()
    assert (random_crop(pixels, (256, 256), drawn(mirror=0.49)) == crop[:, ::-1]).all()
    assert (random_crop(pixels, (256, 256), drawn(mirror=0.49), flip=False) == crop).all()
    almost = 1 - 2.0**-53
    assert (random_crop(pixels, (256, 256), drawn(top=almost, left=almost)) == pixels[76:, 32:]).all()


def test_s_takes_all_values_of_its_range():
    pixels = picture(20, 10)
    crops = {s: cut(pixels, s, 0, 0).tobytes() for s in (255, 256, 257, 258, 259)}
    assert len(set(crops.values())) == 5
    for scale, s in ((0.0, 256), (0.33, 256), (0.34, 257), (0.67, 258), (1 - 2.0**-53, 258)):
        assert random_crop(pixels, (256, 258), drawn(scale)).tobytes() == crops[s]


def test_the_centre_crop_is_in_the_middle():
    pixels = picture(256, 320)
    assert (crop_of(pixels, centre_window(pixels.shape[:2], 256)) == pixels[16:240, 48:272]).all()


# ---- colours


def test_statistics_are_those_of_all_pixels():
    photos = [picture(20, 31, seed) for seed in range(3)]
    photos[1][:, :, 0] = 255 - photos[1][:, :, 1]
    colour = measure(photos)
    pixels = np.concatenate([photo.reshape(-1, 3) for photo in photos]) / 255
    np.testing.assert_allclose(colour.mean, 255 * pixels.mean(0), rtol=1e-12)
    vectors = np.array(colour.vectors)
    covariance = vectors @ np.diag(colour.values) @ vectors.T
    np.testing.assert_allclose(covariance, np.cov(pixels.T, bias=True), atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    assert colour.values[0] >= colour.values[1] >= colour.values[2] >= 0 and colour.images == 3
    assert measure(photos[::-1]) == colour  # to the bit


def test_one_colour_has_no_components():
    assert measure([np.full((4, 4, 3), 7, np.uint8)]).values == (0, 0, 0)
    with pytest.raises(DataError, match="none of the training images"):
        measure([])


def test_the_shift_is_krizhevskys():
    shift = ILSVRC.shift(np.array([1.0, 0.0, -2.0]), 0.1)
    # red: -0.5675 * 0.2175 * 0.1 * 1 + 0.4009 * 0.0045 * 0.1 * (-2)
    np.testing.assert_allclose(shift[0], -0.0123431 - 0.0003608, atol=1e-6)
    assert shift.dtype == np.float32 and (ILSVRC.shift(np.ones(3), 0.0) == 0).all()


def test_the_sample_is_spread_over_the_set():
    assert sample(5).tolist() == [0, 1, 2, 3, 4]
    rows = sample(10 * SAMPLE)
    assert len(rows) == SAMPLE and rows[0] == 0 and rows[-1] == 10 * SAMPLE - 1 and set(np.diff(rows)) <= {10, 11}


# ---- batches


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_and_micro_batches_share_the_same_steps(world):
    recipe = Recipe(batch=8, micro=3, epochs=2, seed=5)
    alone = [draws.order(5, epoch, 27)[s * 8 : s * 8 + 8].tolist() for epoch in (0, 1) for s in range(3)]
    plans = [StepPlan(27, recipe, rank, world) for rank in range(world)]
    keys = [list(plan.keys(0, 0)) for plan in plans]
    for step, rows in enumerate(alone):
        mine = [
            k
            for plan, all_ in zip(plans, keys, strict=True)
            for k in all_[step * plan.micro_batches : (step + 1) * plan.micro_batches]
        ]
        assert [row for _, group in mine for row in group] == rows
        assert {epoch for epoch, _ in mine} == {step // 3}
        assert all(len(group) <= 3 for _, group in mine)
    assert list(plans[0].keys(1, 2)) == keys[0][5 * plans[0].micro_batches :]  # a continued run


def test_validation_takes_each_image_once():
    rows = [row for rank in range(3) for _, group in centre_keys(10, 2, rank, 3) for row in group]
    assert sorted(rows) == list(range(10))


def test_a_batch_leaves_out_and_names_what_cannot_be_read(tmp_path):
    good = photo(tmp_path / "good.png", (10, 200, 30), 0)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    photos = Photos(["good.png", "bad.png", "gone.png"], [good, bad, tmp_path / "gone.png"], np.array([2, 1, 0]))
    batch = Crops(photos, Recipe(), GREY)[0, (1, 0, 2)]
    assert batch.crops.shape == (1, 224, 224, 3) and batch.labels.tolist() == [2] and batch.shifts.shape == (1, 3)
    assert [path for path, _ in batch.failures] == ["bad.png", "gone.png"]
    assert "not an image" in batch.failures[0][1] and str(tmp_path) not in batch.failures[0][1]
    empty = Crops(photos, Recipe(), GREY)[0, (1,)]
    assert empty.crops.shape == (0, 224, 224, 3) and empty.shifts.shape == (0, 3)


def test_cached_pixels_are_the_same(tmp_path):
    files = [photo(tmp_path / f"{i}.png", (50, 60, 70), i) for i in range(3)]
    files.append(tmp_path / "gone.png")
    photos = Photos([file.name for file in files], files, np.zeros(4, np.int64))
    plain = Crops(photos, Recipe(), GREY)[3, (0, 1, 2, 3)]
    photos.decode_ahead(Recipe(cache=1.0), ALONE, threads=2)
    files[0].unlink()
    kept = Crops(photos, Recipe(), GREY)[3, (0, 1, 2, 3)]
    assert torch.equal(kept.crops, plain.crops) and torch.equal(kept.shifts, plain.shifts)
    assert kept.failures == plain.failures
    big = Photos(photos.paths, files, photos.labels)
    big.decode_ahead(Recipe(cache=1e-6), ALONE, threads=1)  # a thousand bytes
    assert not big.decoded


# ---- the learning rate


def run_plateau(errors, **options):
    settings = {"patience": 2, "gain": 0.5, "drops": 1, **options}
    states = [Plateau()]
    for epoch, error in enumerate(errors):
        states.append(states[-1].after(epoch, error, **settings))
    return states[1:]


def test_the_rate_falls_when_the_error_stops_improving():
    states = run_plateau([50, 40, 39.8, 39.9, 30, 31, 30.2, 30.1])
    assert [state.drops for state in states] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert [state.best for state in states] == [50, 40, 39.8, 39.8, 30, 30, 30, 30]
    assert [state.over for state in states] == [False] * 6 + [True] * 2
    assert states[-1].best_epoch == 4
    assert [Plateau(drops=n).rate(0.01) for n in range(4)] == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5], rel=1e-12)


def test_many_small_steps_together_are_an_improvement():
    """0.3 points an epoch, of which two are more than 0.5: the wait begins anew at every other epoch."""
    states = run_plateau([50 - 0.3 * epoch for epoch in range(30)])
    assert states[-1].drops == 0 and states[-1].best_epoch == 29
    states = run_plateau([50 - 0.1 * epoch for epoch in range(6)])  # slower than that
    assert states[-1].over


def test_no_number_is_no_improvement():
    states = run_plateau([float("nan")] * 4)
    assert [state.drops for state in states] == [0, 1, 1, 1] and states[-1].over
    assert states[-1].best == float("inf")


# ---- what a net starts from


def test_the_papers_rate_is_that_of_an_image():
    """0.01 and 0.001 belong to a batch of 256 (Sect. 3.1); a given rate is taken as it is."""
    assert [Recipe().first_rate(same) for same in (False, True)] == [0.01, 0.001]
    assert [Recipe(batch=16).first_rate(same) for same in (False, True)] == pytest.approx([0.000625, 0.0000625])
    assert Recipe(batch=16, lr=0.3).first_rate(same=False) == 0.3
    assert [BoxRecipe(batch=batch).first_rate(same=True) for batch in (32, 256)] == [0.001, 0.001]


CLASSES = tuple(f"class {i}" for i in range(7))


def started(recipe, classes=CLASSES):
    vgg, start = initial_net(recipe, Classes(len(classes)), classes, GREY)
    return vgg.state_dict(), start


def test_random_weights_come_with_the_papers_input():
    state, start = started(Recipe(net="A", width=1 / 16, init="random", dropout=0.25))
    assert start == Start(weights.Preprocessing("RGB", 255.0, GREY.mean, (1.0, 1.0, 1.0)), 0.01)  # batches of 256
    assert state["fc6.weight"].std().item() == pytest.approx(0.01 / math.sqrt(1 / 16), rel=0.01)
    again, _ = started(Recipe(net="A", width=1 / 16, init="random"))
    other, _ = started(Recipe(net="A", width=1 / 16, init="random", seed=1))
    assert torch.equal(again["conv1_1.weight"], state["conv1_1.weight"])
    assert not torch.equal(other["conv1_1.weight"], state["conv1_1.weight"])


def test_a_deeper_net_takes_the_first_four_and_the_last_three_layers_of_a(tiny_weights):
    file = tiny_weights("A", width=1 / 16)
    source = weights.load(weights.read(file)).state_dict()
    state, start = started(Recipe(net="D", width=1 / 16, init=f"from:{file}"))
    taken = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
    assert start.copied == taken and start.lr == 0.01 and start.preprocessing == weights.OXFORD
    for name in nets.tensor_shapes("D", 1 / 16, 7):
        if name.split(".")[0] in taken:
            assert torch.equal(state[name], source[name])
        elif name.endswith("weight"):
            assert 0 < state[name].abs().max() < 6 * 0.04  # N(0, 0.01 / sqrt(width))
        else:
            assert (state[name] == 0).all()


def test_the_same_net_takes_all_layers_and_a_tenth_of_the_rate(tiny_weights):
    file = tiny_weights("A", width=1 / 16)
    source = weights.load(weights.read(file)).state_dict()
    for net in ("A", "A-LRN"):  # the same layers with weights
        state, start = started(Recipe(net=net, width=1 / 16, init=f"from:{file}", scale="384"))
        assert all(torch.equal(state[name], source[name]) for name in source)
        assert start.lr == 0.001
    assert started(Recipe(net="A", width=1 / 16, init=f"from:{file}", lr=0.5))[1].lr == 0.5


def test_other_classes_get_another_last_layer(tiny_weights):
    file = tiny_weights("A", width=1 / 16)
    for classes in (CLASSES[:3], (*CLASSES[:6], "another")):
        state, start = started(Recipe(net="A", width=1 / 16, init=f"from:{file}"), classes)
        assert "fc7" in start.copied and "fc8" not in start.copied
        assert len(state["fc8.bias"]) == len(classes) and state["fc8.weight"].abs().max() < 6 * 0.04


def test_convolutions_alone_can_be_started_from(tiny_weights):
    file = tiny_weights("A", width=1 / 16, top="pool5")
    _, start = started(Recipe(net="A", width=1 / 16, init=f"from:{file}"))
    assert start.copied[-1] == "conv5_2" and len(start.copied) == 8


def test_nets_that_do_not_fit_are_refused_in_one_line(tiny_weights, tmp_path):
    file = tiny_weights("A", width=1 / 16)
    with pytest.raises(WeightsError, match=r"of width 0.0625, not 1: give --width 0.0625"):
        started(Recipe(net="D", init=f"from:{file}"))
    with pytest.raises(WeightsError, match="net B-5x5 has no layer like its conv1_1"):
        started(Recipe(net="B-5x5", width=1 / 16, init=f"from:{file}"))
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file, and no name of published weights"):
        started(Recipe(init=f"from:{tmp_path / 'none.safetensors'}"))


def test_a_start_survives_json():
    start = Start(weights.OXFORD, 0.001, ("fc6",), "a.safetensors", "ab")
    assert parse_json(json.dumps(dataclasses.asdict(start)), Start) == start


# ---- the paper's chain


def test_the_chain_of_a_deep_net():
    chain = stages(Recipe(net="D"))
    assert [stage.name for stage in chain] == ["A-256", "D-256", "D-384", "D-256-512"]
    assert [stage.init for stage in chain] == ["random", "A-256", "D-256", "D-384"]
    assert [stage.changes.get("lr") for stage in chain] == [None, 1e-2, 1e-3, 1e-3]
    assert [stage.changes.get("scale", "256") for stage in chain] == ["256", "256", "384", "256-512"]
    assert stages(Recipe(net="B", batch=64))[1].changes["lr"] == 1e-2 * 64 / 256
    assert stages(Recipe(net="A-LRN"))[1].changes["lr"] == 1e-2  # a net of A's shapes begins like the others
    assert [stage.name for stage in stages(Recipe(net="A"))] == ["A-256", "A-384", "A-256-512"]
