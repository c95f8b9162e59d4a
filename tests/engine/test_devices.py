"""What differs between a CPU and a GPU. The GPU's side runs here on the CPU, with torch.cuda's events faked."""

import time
import warnings
from dataclasses import replace
from threading import Lock
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from vggfeat._util.torch_settings import torch_settings
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine
from vggfeat.engine.devices import CPU_TUNING, GPU_TUNING, PIXEL_BYTES, Cpu, Gpu, in_order
from vggfeat.engine.net import DenseNet, widest
from vggfeat.nets import layers
from vggfeat.spec import DescriptorSpec

GiB = 2**30
EXACT = {"precision": "float32"}


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestInOrder:
    @pytest.mark.parametrize(
        ("ahead", "expected"),
        [
            (0, "s0 r0 s1 r1 s2 r2 s3 r3"),
            (2, "s0 s1 s2 r0 s3 r1 r2 r3"),
            (9, "s0 s1 s2 s3 r0 r1 r2 r3"),
        ],
    )
    def test_what_is_started_before_a_result_is_asked_for(self, ahead, expected):
        log = []

        def start(i):
            log.append(f"s{i}")
            return lambda: log.append(f"r{i}") or -i

        assert list(in_order(range(4), start, ahead)) == [(0, 0), (1, -1), (2, -2), (3, -3)]
        assert " ".join(log) == expected

    def test_results_come_while_work_is_still_to_come(self):
        def endless():
            i = 0
            while True:
                yield (i := i + 1)

        results = in_order(endless(), lambda i: lambda: i, 3)
        assert [next(results) for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]


def test_large_passes_on_a_cpu_do_not_go_side_by_side():
    """Room for 10 pixels: of 4, 4 and 4 two go at a time; 9 and 20, which is more than the room, go alone."""
    cpu = Cpu(replace(CPU_TUNING, at_once=4), memory=10 * 4 * 512, threads=4)
    now, seen, lock = [], [], Lock()

    def values(size):
        with lock:
            now.append(size)
            seen.append(tuple(sorted(now)))
        time.sleep(0.05)
        with lock:
            now.remove(size)
        return [torch.tensor([size])]

    sizes = [4, 4, 4, 9, 20, 4, 4]
    found = [(size, value.item()) for size, (value,) in cpu.run(sizes, values, lambda size: size, 512)]
    assert found == [(size, size) for size in sizes]
    assert (4, 4) in seen
    assert all(sum(together) <= 10 or together == (20,) for together in seen)


@pytest.fixture
def fake_cuda(monkeypatch):
    """A Gpu whose device is the CPU; its log says when passes are launched, and when their results are waited for."""
    log = []

    class Event:
        def __init__(self, blocking):
            assert blocking

        def record(self, stream):
            self.name = f"{stream} {sum(what.startswith('launched') for what in log)}"
            log.append(f"launched {self.name}")

        def synchronize(self):
            log.append(f"waited for {self.name}")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"{device} stream")
    monkeypatch.setattr(Tensor, "pin_memory", lambda image: image)
    properties = SimpleNamespace(total_memory=6 * GiB, major=9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return SimpleNamespace(log=log, properties=properties)


def describer_on(machine, **options):
    spec = DescriptorSpec(**options)
    return Describer(spec=spec, engine=Engine.of(spec, machine))


def test_passes_are_launched_before_the_results_of_others_are_read(fake_cuda):
    gpu = Gpu(torch.device("cpu"))
    found = list(gpu.run("abcd", lambda one: [torch.tensor([ord(one)])], len))
    assert [(one, value.item()) for one, (value,) in found] == [("a", 97), ("b", 98), ("c", 99), ("d", 100)]
    assert fake_cuda.log == [
        "launched cpu stream 0", "launched cpu stream 1", "launched cpu stream 2", "waited for cpu stream 0",
        "launched cpu stream 3", "waited for cpu stream 1", "waited for cpu stream 2", "waited for cpu stream 3",
    ]  # fmt: skip


@pytest.mark.parametrize("scales", [(32,), (32, 48)])
def test_descriptors_are_those_of_the_cpu(tiny_weights, fake_cuda, scales):
    images = [photo(*((32, 40), (40, 32), (64, 64))[i % 3], seed=i) for i in range(10)]
    options = {
        "weights": tiny_weights("A"),
        "layer": "pool5",
        "scales": scales,
        "device": "cpu",
        "precision": "float32",
    }
    gpu = Gpu(torch.device("cpu"), replace(GPU_TUNING, batch_pixels=3 * 2 * 32 * 40))  # three images and their mirrors
    found = describer_on(gpu, **options).describe(images)
    assert len(fake_cuda.log) >= 8
    np.testing.assert_allclose(found, Describer(**options).describe(images), atol=1e-6)


class TestUploads:
    """Photos of one size are uploaded and rescaled together."""

    SIZES = ((32, 40), (40, 32), (64, 64))

    @pytest.fixture
    def uploads(self, tiny_weights, fake_cuda):
        """uploads(tuning) -> a describer on a Gpu, and the sizes of its uploads."""

        def make(**tuning):
            sizes = []

            class Logging(Gpu):
                def upload(self, photos):
                    sizes.append((len(photos), *photos[0].shape[1:]))
                    return super().upload(photos)

            gpu = Logging(torch.device("cpu"), replace(GPU_TUNING, **tuning))
            options = {"weights": tiny_weights("A"), "layer": "pool5", "scales": (32, 48), "device": "cpu"} | EXACT
            return describer_on(gpu, **options), sizes, Describer(**options)

        return make

    def test_descriptors_are_those_of_photos_alone(self, uploads):
        images = [photo(*self.SIZES[i % 3], seed=i) for i in range(11)]
        describer, sizes, alone = uploads(upload_pixels=2 * 32 * 40)
        np.testing.assert_allclose(describer.describe(images), alone.describe(images), atol=1e-6)
        assert sizes.count((1, 64, 64)) == 3  # larger than an upload
        assert sizes.count((2, 32, 40)) == sizes.count((2, 40, 32)) == 2

    def test_a_bounded_number_of_photos_waits(self, uploads):
        describer, sizes, _ = uploads(upload_pixels=32 * 40, waiting=0, at_once=0, batch_pixels=1)
        taken = 0

        def many():
            nonlocal taken
            for taken in range(100):
                yield taken, torch.zeros(3, 32, 40 + taken, dtype=torch.uint8)

        assert next(describer.stream(many()))[0] == 0
        assert taken <= 16
        assert len(sizes) == 1

    def test_photos_go_alone_where_memory_is_too_small_for_several(self, uploads, monkeypatch):
        images = [photo(32, 40, seed) for seed in range(4)]
        describer, sizes, alone = uploads(upload_pixels=4 * 32 * 40)
        expected, to_float = alone.describe(images), Tensor.float

        def limited(pixels):
            if pixels.ndim == 4 and len(pixels) > 1 and pixels.dtype == torch.uint8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return to_float(pixels)

        monkeypatch.setattr(Tensor, "float", limited)
        np.testing.assert_allclose(describer.describe(images), expected, atol=1e-6)
        assert sizes == [(4, 32, 40), *[(1, 32, 40)] * 4]


def test_what_was_launched_before_memory_ran_out_stays_valid(tiny_weights, fake_cuda, monkeypatch):
    images = [photo(32, 32, seed) for seed in range(12)]
    options = {"weights": tiny_weights("A"), "layer": "pool5", "scales": (32,), "device": "cpu", **EXACT}
    gpu = Gpu(torch.device("cpu"), replace(GPU_TUNING, batch_pixels=4 * 2 * 32 * 32))
    expected = describer_on(gpu, **options).describe(images)
    net, sizes = DenseNet.__call__, []

    def limited(self, pixels, layers):
        sizes.append(len(pixels))
        if len(sizes) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return net(self, pixels, layers)

    monkeypatch.setattr(DenseNet, "__call__", limited)
    np.testing.assert_allclose(describer_on(gpu, **options).describe(images), expected, atol=1e-6)
    assert sizes == [4, 4, 2, 2, 2, 2]


class TestPixels:
    """How many a pass takes, and how many wait: by the memory of the device as a whole."""

    @pytest.mark.parametrize(
        ("memory", "bytes_per_pixel", "expected"),
        [
            (80 * GiB, 512, GPU_TUNING.batch_pixels),
            (80 * GiB, 256, GPU_TUNING.batch_pixels),
            (8 * GiB, 512, 2**22),  # a quarter is 2 GiB, and 2^31 / 2^9 = 2^22
            (8 * GiB, 256, 2**23),
            (6 * GiB, 512, 2**21),  # 3 * 2^20, rounded down to a power of two
            (2 * GiB, 512, 2**20),
        ],
    )
    def test_a_pass(self, fake_cuda, memory, bytes_per_pixel, expected):
        fake_cuda.properties.total_memory = memory
        assert Gpu(torch.device("cpu")).batch_pixels(bytes_per_pixel) == expected

    def test_waiting(self, fake_cuda):
        fake_cuda.properties.total_memory = 96 * 10**6  # an eighth is 12 MB
        gpu = Gpu(torch.device("cpu"))
        assert gpu.waiting_pixels(10**6) == 10**6
        assert gpu.waiting_pixels(1000) == 64_000
        assert torch.zeros(3).nbytes == PIXEL_BYTES

    def test_each_precision_takes_its_bytes(self, tiny_weights, fake_cuda):
        """Net D at width 1/16: its second layer reads and writes 4 channels."""
        for precision, size in {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2, "mixed": 2}.items():
            net = Describer(weights=tiny_weights("D"), device="cpu", precision=precision).engine.nets[0]
            assert net.bytes_per_pixel == 8 * size

    def test_the_widest_layer(self):
        """B to E: conv1_2 reads 64 and writes 64; A: pool1 counts as writing as much as it reads."""
        assert [widest(layers(net)) for net in ("A", "B", "C", "D", "E")] == [128] * 5
        assert widest(layers("E")[-3:-2]) == 512 * 49 + 4096  # fc6 by itself, one place a pixel


@pytest.mark.gpu
class TestOnAGpu:
    """Small nets and images; what the CPU gives is right."""

    @pytest.fixture
    def make(self, tiny_weights):
        def describer(machine=None, **options):
            settings = {
                "weights": tiny_weights("D"),
                "scales": (224, 256),
                "device": "cuda",
                "precision": "float32",
            } | options
            return describer_on(machine, **settings)

        return describer

    @pytest.fixture
    def images(self):
        return [photo(*((240, 300), (300, 240), (224, 224))[i % 3], seed=i) for i in range(60)]

    def test_many_passes_under_way(self, make, images):
        expected = make(device="cpu").describe(images)
        gpu = Gpu(torch.device("cuda"), replace(GPU_TUNING, batch_pixels=2**18))
        np.testing.assert_allclose(make(gpu).describe(images), expected, atol=1e-4)

    def test_the_callers_tf32_changes_no_bit_of_float32(self, make, images):
        describer = make()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with torch_settings(tf32=False):
                expected = describer.describe(images)
            with torch_settings(tf32=True):
                assert np.array_equal(describer.describe(images), expected)

    def test_deterministic_algorithms_give_the_same_bits(self, make, images, monkeypatch):
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        try:
            assert np.array_equal(make().describe(images), make().describe(images))
        finally:
            torch.use_deterministic_algorithms(False)

    def test_a_batch_that_does_not_fit_is_halved(self, make):
        """51 images and their mirror images at 256x320: conv1_2 of width 1/16 reads and writes 268 MB each."""
        images = [photo(256, 320, seed) for seed in range(64)]
        options = {"scales": (256,), "layer": "pool5"}
        expected = make(**options, device="cpu").describe(images)
        describer = make(**options)
        before = describer.engine.batch_pixels
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties("cuda").total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 3e8) / total)
        try:
            np.testing.assert_allclose(describer.describe(images), expected, atol=1e-4)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert describer.engine.batch_pixels < before

    def test_batches_don_t_depend_on_free_memory(self, make):
        before = make().engine.batch_pixels
        ballast = torch.empty(torch.cuda.mem_get_info()[0] // 2, dtype=torch.uint8, device="cuda")
        assert make().engine.batch_pixels == before
        del ballast
        torch.cuda.empty_cache()
