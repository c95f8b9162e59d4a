"""Options that the paper does not have: each against an independent implementation or by hand; off, nothing changes."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import beta, kstest
from torch.nn import functional
from torchvision.transforms import functional as transforms

from tests.kit.training_photos import TINY, photo_set
from vggfeat import nets
from vggfeat.errors import UsageError
from vggfeat.localization import BoxRecipe
from vggfeat.train import Recipe, draws, train
from vggfeat.train.augmentation import PRESETS, Options
from vggfeat.train.crops import crop_of, jittered, random_window
from vggfeat.train.learner import for_small_crops
from vggfeat.train.loading import CENTRE, Crops, MicroBatch
from vggfeat.train.objective import Classes
from vggfeat.train.pixel_statistics import ILSVRC
from vggfeat.train.settings import difference

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 260, 300, 3), np.uint8)


class Photos:
    """Five photos in memory."""

    paths, labels, boxes = list("abcde"), np.arange(5), None

    def __len__(self):
        return 5

    def pixels(self, row):
        return PHOTOS[row]


def crops(**options):
    return Crops(Photos(), Recipe(**options), ILSVRC)


# ---- settings


def test_by_default_there_is_none():
    assert Recipe().options == Options() == Options(0, 0, 0, 1, (224,), "plateau", 0)


def test_strong_sets_what_is_not_given():
    options = Recipe(augment="strong", mixup=0.0, crop_sizes=(224,)).options
    assert options == PRESETS["strong"]._replace(mixup=0.0, crop_sizes=(224,))
    assert all(a != b for a, b in zip(PRESETS["strong"], PRESETS["paper"], strict=True))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"augment": "weak"}, "no augment 'weak'; take one of paper, strong"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1, not 1.0"),
        ({"mixup": float("nan")}, "mixup must be at least 0, not nan"),
        ({"clip": -1.0}, "clip must be at least 0, not -1.0"),
        ({"aspect": 0.5}, "aspect must be from 1 to 2, not 0.5"),
        ({"crop_sizes": (128, 64, 224)}, "crop_sizes 128,64,224 are invalid; give rising sides from 32 to 224"),
        ({"crop_sizes": (64, 128)}, "crop_sizes 64,128 are invalid"),
        ({"crop_sizes": ()}, "crop_sizes  are invalid"),
        ({"crop_sizes": (128, 224)}, "crop_sizes needs lr_schedule cosine"),
        ({"mixup": 0.2, "finetune": "fc", "init": "from:x", "draws": 2}, "with mixup or crop_sizes give draws 0"),
    ],
    ids=str,
)
def test_invalid_options_are_refused_in_one_line(wrong, said):
    with pytest.raises(UsageError, match=said):
        Recipe(**wrong)


def test_boxes_have_none():
    offered = {field.name for field in dataclasses.fields(BoxRecipe)}
    assert not offered & {"augment", "dense", *Options._fields}
    assert BoxRecipe().options == Options()


def test_a_run_for_boxes_is_continued_that_had_recorded_them():
    recorded = {**BoxRecipe().fixed(), "augment": "paper", **Options()._asdict(), "crop_sizes": "224"}
    assert not difference(recorded, BoxRecipe().fixed())
    assert difference({**recorded, "mixup": 0.2}, BoxRecipe().fixed()) == "mixup 0.2, not 0.0"


# ---- the epochs and the learning rate


def test_each_size_has_about_the_same_pixels():
    sizes = Recipe(augment="strong").options.sizes(880)
    assert sizes == sorted(sizes) and len(sizes) == 880
    pixels = [sizes.count(side) * side**2 for side in (64, 96, 128, 224)]
    assert max(pixels) < 1.02 * min(pixels)


@pytest.mark.parametrize("epochs", range(1, 12))
def test_the_last_epoch_has_whole_crops(epochs):
    sizes = Recipe(augment="strong").options.sizes(epochs)
    assert len(sizes) == epochs and sizes[-1] == 224 and sizes == sorted(sizes)


def test_the_rate_is_a_cosine_of_the_pixels():
    whole = Options(lr_schedule="cosine")
    assert [whole.factor(e, 2) for e in (0, 1)] == pytest.approx([0.853553, 0.146447], abs=1e-6)  # cos 45 and 135 deg
    growing = Options(crop_sizes=(112, 224), lr_schedule="cosine")  # 1 + 1 + 1 + 1 + 4 of 8 parts
    assert growing.factor(4, 5) == pytest.approx((1 + np.cos(np.pi * 0.75)) / 2)
    assert growing.factor(5, 5) == growing.factor(4, 5) and Options().factor(3, 5) == 1


# ---- draws


def test_the_earlier_draws_are_those_of_earlier_versions():
    drawn = draws.augmentation(3, 5, 7)
    assert drawn[:4] == (0.09185122468889673, 0.8991500716640037, 0.7000453347934082, 0.12481409032948954)
    np.testing.assert_allclose(drawn.colour, [0.18361891, 2.07774923, 1.33758463], atol=1e-8)


def test_the_new_draws_are_uniform_and_unrelated():
    drawn = [draws.augmentation(0, 0, row) for row in range(2000)]
    fractions = np.array([[*one[:4], one.aspect, *one.jitter, one.partner, *one.mix] for one in drawn])
    assert all(kstest(column, "uniform").pvalue > 1e-3 for column in fractions.T)
    assert np.abs(np.corrcoef(fractions.T) - np.eye(11)).max() < 0.1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_share_is_the_larger_side_of_a_beta_distribution(alpha):
    mix = np.random.default_rng(1).random((4000, 2))
    shares = np.array([draws.larger_share(alpha, pair) for pair in mix])
    assert kstest(shares, lambda x: 2 * beta.cdf(x, alpha, alpha) - 1).pvalue > 1e-3


def test_the_share_of_extreme_draws_is_a_number():
    for mix in ((0.0, 0.0), (1 - 2.0**-53, 0.5), (0.5, 0.25)):
        assert all(0.5 <= draws.larger_share(alpha, mix) <= 1 for alpha in (0.001, 0.2, 1e6))


# ---- crops


def test_jitter_is_torchvisions():
    drawn = draws.augmentation(0, 0, 0)._replace(jitter=(0.0, 1.0, 0.75))  # factors 0.7, 1.3 and 1.15
    found = jittered(PHOTOS[0], drawn, 0.3)
    expected = transforms.adjust_brightness(Image.fromarray(PHOTOS[0]), 0.7)
    expected = transforms.adjust_saturation(transforms.adjust_contrast(expected, 1.3), 1.15)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_crop_is_stretched_about_its_area():
    size = (900, 1000)
    drawn = draws.augmentation(0, 0, 0)._replace(aspect=1.0)  # beyond the largest fraction: exactly 4/3
    height, width = random_window(size, (900, 900), drawn, aspect=4 / 3).region
    assert (height, width) == (194, 259)  # 224 / sqrt(4/3) = 193.99, 224 * sqrt(4/3) = 258.65
    height, width = random_window(size, (900, 900), drawn._replace(aspect=0.0), aspect=4 / 3).region
    assert (height, width) == (259, 194)
    assert random_window(size, (224, 224), drawn, aspect=4 / 3).region == (194, 249)  # no more than the image


def test_a_small_crop_shows_what_the_whole_one_shows():
    coarse = Image.fromarray(PHOTOS[0][:8, :9])
    smooth = np.asarray(coarse.resize((300, 260), Image.Resampling.BICUBIC))
    window = random_window((260, 300), (320, 320), draws.augmentation(0, 0, 1))
    whole, small = crop_of(smooth, window), crop_of(smooth, window, 64)
    shrunk = np.asarray(Image.fromarray(whole).resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert small.shape == (64, 64, 3) and np.abs(small - shrunk).max() <= 4 and shrunk.std() > 10


def test_small_crops_go_through_the_net_and_whole_ones_as_before():
    vgg = nets.initialise(nets.VGG("A", width=1 / 32, classes=3).eval(), "glorot", torch.Generator().manual_seed(0))
    net = for_small_crops(vgg)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(net(x), vgg(x)) and net(x[:, :, :64, :64]).shape == (2, 3)


# ---- mixtures


def test_a_mixture_is_that_of_two_plain_crops():
    plain, mixed = crops(scale="256-300"), crops(scale="256-300", mixup=0.2)
    one, two = plain[2, (0, 1, 2, 3, 4)], mixed[2, (0, 1, 2, 3, 4)]
    share = two.shares[:, None].double()
    for name in ("crops", "shifts"):
        own = getattr(one, name).double().flatten(1)
        expected = share * own + (1 - share) * own[two.partners]
        assert (getattr(two, name).double().flatten(1) - expected).abs().max() <= (0.51 if name == "crops" else 1e-6)
    assert (two.labels == one.labels).all() and (two.partners != two.labels).any() and (two.shares >= 0.5).all()


def test_a_mixture_does_not_depend_on_its_micro_batch():
    mixed = crops(augment="strong")
    together, alone = mixed[3, (4, 1)], mixed[3, (1,)]
    assert torch.equal(together.crops[1:], alone.crops) and together.partners[1] == alone.partners[0]
    assert together.crops.shape == (2, 64, 64, 3) and mixed[73, (1,)].crops.shape == (1, 224, 224, 3)


def test_the_centre_crops_are_the_papers():
    one, two = crops()[CENTRE, (0, 1)], crops(augment="strong")[CENTRE, (0, 1)]
    assert torch.equal(one.crops, two.crops) and torch.equal(one.shifts, two.shifts) and len(two.shares) == 0


# ---- the loss


def scored(shares=None):
    rng = torch.Generator().manual_seed(0)
    scores, labels, partners = torch.randn(4, 3, generator=rng), torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    batch = MicroBatch(torch.zeros(0), labels, torch.zeros(0, 3), [])
    return scores, batch if shares is None else batch._replace(partners=partners, shares=torch.tensor(shares))


def test_the_loss_of_smoothed_labels_is_by_hand():
    scores, batch = scored()
    logs = scores.double().log_softmax(1)
    expected = -(0.9 * logs[range(4), batch.labels] + 0.1 * logs.mean(1)).sum()
    assert float(Classes(3, 0.1).loss(scores, batch)) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_of_mixtures_is_that_of_mixed_labels():
    shares = [0.5, 0.75, 0.9, 1.0]
    scores, batch = scored(shares)
    own, other = (functional.one_hot(labels, 3).float() for labels in (batch.labels, batch.partners))
    targets = torch.lerp(other, own, torch.tensor(shares)[:, None])
    expected = functional.cross_entropy(scores, targets, reduction="sum", label_smoothing=0.1)
    assert float(Classes(3, 0.1).loss(scores, batch)) == pytest.approx(float(expected), rel=1e-5)


def test_validation_does_not_smooth():
    scores, batch = scored()
    plain = functional.cross_entropy(scores, batch.labels, reduction="sum")
    assert float(Classes(3, 0.1).tally(scores, batch)[0]) == pytest.approx(float(plain))
    assert float(Classes(3, 0.1).tally(scores, batch, training=True)[0]) != pytest.approx(float(plain))


# ---- whole runs


def test_runs_of_earlier_versions_had_none():
    now = Recipe().fixed()
    earlier = {name: value for name, value in now.items() if name not in ("augment", *Options._fields)}
    assert difference(earlier, now) == "" and len(now) - len(earlier) == 8
    assert difference(earlier, Recipe(mixup=0.2).fixed()) == "mixup 0.0, not 0.2"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


STRONG = {**TINY, "augment": "strong", "crop_sizes": (32, 224), "device": "cpu"}


def test_the_epochs_of_a_cosine_stay(data, tmp_path, one_thread):
    train(data, tmp_path / "run", **STRONG)
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    rates = [float(line.split(",")[1]) for line in log[1:]]
    assert rates == pytest.approx([0.001 * Recipe(**STRONG).options.factor(e, 2) for e in range(2)])
    with pytest.raises(UsageError, match="was begun with epochs 2, not 4"):
        train(data, tmp_path / "run", **{**STRONG, "epochs": 4})
