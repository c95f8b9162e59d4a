"""What box nets learn: targets, the half rule, loss and error by hand."""

import pytest
import torch

from vggfeat import nets, weights
from vggfeat.localization.objective import Boxes
from vggfeat.train import Recipe
from vggfeat.train.crops import Window, boxes_in
from vggfeat.train.learner import Learner
from vggfeat.train.loading import MicroBatch
from vggfeat.train.ranks import Ranks

WHOLE = (-16.0, 0.0, 240.0, 256.0)  # a photo of 256x256 whose crop begins at (16, 0)


def batch(boxes, labels, frame=WHOLE):
    found = torch.tensor(boxes, dtype=torch.float32)
    n = len(found)
    frames = torch.tensor([frame] * n).view(n, 4)
    return MicroBatch(torch.zeros(n), torch.tensor(labels, dtype=torch.int64), torch.zeros(n, 3), [], found, frames)


def test_a_box_moves_with_its_crop():
    """A photo of 100 rows and 200 columns at S=256: 256 rows, 512 columns."""
    box = torch.tensor([[50.0, 25.0, 100.0, 75.0]])
    window = Window(256, 10, 100)
    assert boxes_in(window, box, (100, 200)).tolist() == [[128 - 100, 64 - 10, 256 - 100, 192 - 10]]
    mirrored = boxes_in(window._replace(mirrored=True), box, (100, 200)).tolist()
    assert mirrored == [[224 - 156, 54, 224 - 28, 182]]


def test_each_axis_has_its_own_factor():
    """101x67 becomes 386x256: 386 / 101 is not 256 / 67."""
    box = torch.tensor([[0.0, 0.0, 67.0, 101.0]])
    assert boxes_in(Window(256, 0, 0), box, (101, 67))[0].tolist() == pytest.approx([0, 0, 256, 386])


def test_the_loss_is_half_the_squared_distance_of_the_true_class():
    """The box is the crop's left half: its code is -1/4, 0, 1/2, 1."""
    given = batch([[[0.0, 0.0, 112.0, 224.0]]], [1])
    outputs = torch.zeros(1, 12)
    outputs[0, 4:8] = torch.tensor([-0.25, 0.5, 0.5, 0.0])
    assert Boxes("pcr", 3).loss(outputs, given).item() == pytest.approx((0.5**2 + 1**2) / 2)
    assert Boxes("scr", 3).loss(outputs[:, 4:8], given).item() == pytest.approx((0.5**2 + 1**2) / 2)
    assert Boxes("pcr", 3).outputs == 12 and Boxes("scr", 3).outputs == 4


def test_the_target_of_a_cut_box_is_the_whole_box():
    """From -100 to 150: its centre lies 87 left of the crop's, and it is 250 wide."""
    given = batch([[[-100.0, 0.0, 150.0, 224.0]]], [0], frame=(-100.0, 0.0, 300.0, 224.0))
    outputs = torch.tensor([[-87 / 224, 0.0, 250 / 224, 1.0]])
    assert Boxes("scr", 1).loss(outputs, given).item() == pytest.approx(0, abs=1e-9)


def test_a_crop_with_less_than_half_of_the_box_has_no_loss_and_is_counted():
    """Shares of 0.5, 0.49 and 0; in validation all are judged."""
    boxes = [[[-100.0, 0.0, 100.0, 50.0]], [[-102.0, 0.0, 98.0, 50.0]], [[300.0, 0.0, 400.0, 50.0]]]
    given, objective = batch(boxes, [0, 0, 0], frame=(-300.0, 0.0, 500.0, 224.0)), Boxes("scr", 1)
    outputs = torch.zeros(3, 4, requires_grad=True)
    one = objective.loss(outputs[:1], batch(boxes[:1], [0], frame=(-300.0, 0.0, 500.0, 224.0)))
    assert objective.loss(outputs, given).item() == pytest.approx(one.item())
    objective.loss(outputs, given).backward()
    assert outputs.grad[0].abs().max() > 0 and (outputs.grad[1:] == 0).all()
    assert objective.tally(outputs.detach(), given, training=True)[-2:].tolist() == [2, 1]
    assert objective.tally(outputs.detach(), given, training=False)[-2:].tolist() == [2, 3]


def test_a_guess_may_fit_any_of_the_boxes():
    """The second box is the guess; an empty one stands after the last."""
    given = batch([[[0.0, 0.0, 200.0, 200.0], [0.0, 0.0, 56.0, 56.0]], [[0.0, 0.0, 200.0, 200.0], [0.0] * 4]], [0, 0])
    guess = torch.tensor([[-84 / 224, -84 / 224, 0.25, 0.25]] * 2)
    _, wrong, overlap, outside, count = Boxes("scr", 1).tally(guess, given, training=False).tolist()
    assert (wrong, outside, count) == (1, 0, 2)
    assert overlap == pytest.approx(1 + 56**2 / 200**2)


def test_a_box_is_right_from_half_on_and_clipped_to_its_photo():
    """The guess is twice as high as the box, and from the photo's right edge on twice as wide."""
    given = batch([[[128.0, 0.0, 240.0, 100.0]]], [0])
    exact = torch.tensor([[(240 - 112) / 224, -12 / 224, 224 / 224, 200 / 224]])
    _, wrong, overlap, _, _ = Boxes("scr", 1).tally(exact, given, training=True).tolist()
    assert (wrong, overlap) == (0, pytest.approx(0.5))
    worse = exact + torch.tensor([[0, 0, 0, 2 / 224]])
    assert Boxes("scr", 1).tally(worse, given, training=True)[1] == 1


def test_measures_are_means():
    objective = Boxes("scr", 1)
    assert objective.means([6.0, 1.0, 2.4, 5.0, 4.0]) == (1.5, 25.0, pytest.approx(0.6), 5.0)
    assert objective.means([0.0, 0.0, 0.0, 5.0, 0.0])[-1] == 5
    assert len(objective.measures) == 4 and {f"val_{name}" for name in objective.measures} <= set(objective.log)


def test_a_step_is_that_of_plain_torch():
    """Krizhevsky's first step, -rate * (0.0005 w + gradient); the last of four crops has no loss."""
    draw = torch.Generator().manual_seed(3)
    crops = torch.randint(0, 256, (4, 224, 224, 3), dtype=torch.uint8, generator=draw)
    boxes = [[0.0, 0.0, 112.0, 224.0], [-50.0, 20.0, 150.0, 120.0], [10.0, 10.0, 20.0, 40.0], [200.0, 0.0, 400.0, 50.0]]
    codes = [[-56, 0, 112, 224], [-62, -42, 200, 100], [-97, -87, 10, 30]]
    labels = [2, 0, 1, 1]
    given = batch([[box] for box in boxes], labels, frame=(-100.0, 0.0, 500.0, 224.0))._replace(crops=crops)
    recipe = Recipe(net="A", width=1 / 32, batch=4, dropout=0.0, lr=0.01)
    vgg = nets.initialise(
        nets.VGG("A", width=1 / 32, classes=12, dropout=0.0), "glorot", torch.Generator().manual_seed(1)
    )
    plain = nets.VGG("A", width=1 / 32, classes=12)
    plain.load_state_dict(vgg.state_dict())
    prep = weights.Preprocessing("BGR", 255.0, (100.0, 110.0, 120.0), (1.0, 1.0, 1.0))
    tally, _ = Learner(vgg, recipe, Boxes("pcr", 3), prep, Ranks(torch.device("cpu"))).step(iter([given]), 1, seed=0)

    x = (crops.flip(3).float() - torch.tensor(prep.mean)).permute(0, 3, 1, 2)
    outputs = plain.eval()(x)
    found = torch.stack([outputs[i, 4 * k : 4 * k + 4] for i, k in enumerate(labels[:3])])
    loss = (found - torch.tensor(codes) / 224).square().sum() / 2 / 3
    loss.backward()
    assert tally[0].item() / 3 == pytest.approx(loss.item(), rel=1e-5) and tally[-2:].tolist() == [1, 3]
    for name, before in plain.named_parameters():
        wanted = before.detach() - 0.01 * (5e-4 * before.detach() + before.grad)
        torch.testing.assert_close(vgg.get_parameter(name).detach(), wanted, rtol=1e-4, atol=1e-6)


def test_no_images_are_no_loss():
    given = MicroBatch(torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3), [])
    given = given._replace(boxes=torch.zeros(0, 1, 4), frames=torch.zeros(0, 4))
    for kind, outputs in (("scr", 4), ("pcr", 8)):
        objective = Boxes(kind, 2)
        assert objective.loss(torch.zeros(0, outputs), given) == 0
        assert objective.tally(torch.zeros(0, outputs), given, training=True).tolist() == [0] * 5


def test_numbers_that_are_none_are_wrong():
    given = batch([[[0.0, 0.0, 100.0, 100.0]]], [0])
    tally = Boxes("scr", 1).tally(torch.full((1, 4), float("nan")), given, training=False)
    assert tally[1] == 1 and tally[0].isnan()
