"""The memory that images share: what they hold together, who waits, and who never does."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from vggfeat.errors import ImageError
from vggfeat.extraction.budget import Budget

WAITS = 0.2  # seconds after which a thread is taken to wait


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_an_image_waits_for_room_and_the_wanted_one_never(threads):
    budget = Budget(total=100, workers=2)
    budget.hold(1, 80)
    later = threads.submit(budget.hold, 2, 30)
    assert not wait([later], WAITS).done
    budget.hold(0, 100)  # is wanted next
    assert budget.used == 180
    budget.taken()
    assert not wait([later], WAITS).done  # 80 + 30
    budget.note(1, 70)
    later.result(60)
    assert budget.used == 100
    budget.hold(2, 10)
    assert budget.used == 80


def test_an_image_for_which_there_is_never_room_is_refused():
    budget = Budget(total=2**20, workers=1)
    with pytest.raises(ImageError, match="needs 3 MB of memory, and 2 MB are free for an image; reduce it first"):
        budget.hold(0, 3 * 2**20)
    assert budget.used == 0


def test_the_wanted_image_is_decoded_beside_those_that_wait_for_its_memory(threads):
    budget = Budget(total=100, workers=1)

    def decoded(number, size):
        with budget.turn(number):
            budget.hold(number, size)

    budget.hold(3, 90)
    waiting = threads.submit(decoded, 1, 50)
    assert not wait([waiting], WAITS).done
    other = threads.submit(decoded, 2, 1)
    assert not wait([other], WAITS).done  # one worker
    threads.submit(decoded, 0, 50).result(60)
    budget.taken()
    waiting.result(60)  # is wanted now
    budget.taken()
    other.result(60)


def test_at_the_end_nobody_waits(threads):
    budget = Budget(total=100, workers=1)
    budget.hold(1, 100)
    waiting = threads.submit(budget.hold, 2, 50)
    budget.end()
    waiting.result(60)
