"""The batched solver: its optimum is certified in float64 from the dual, and it is LinearSVC's."""

import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

from vggfeat.errors import UsageError
from vggfeat.svm import CS, SOLVERS, LinearSVM, kernel, newton, path, systems
from vggfeat.svm.problem import Problem, Solution, solve_whole
from vggfeat.svm.settings import NewtonTuning, SolverSettings

CPU = torch.device("cpu")
LITTLE_MEMORY = NewtonTuning(free_memory=10**4)


def solve(X, positive, Cs=CS, ignore=None, tuning=None, **options) -> Solution:
    ignore = np.zeros_like(positive) if ignore is None else ignore
    settings = SolverSettings(jobs=1, device="cpu", **options)
    return solve_problem(Problem(X, positive, ignore), Cs, settings, tuning or NewtonTuning())


def solve_problem(problem, Cs, settings, tuning) -> Solution:
    return solve_whole(path.NewtonPath(problem, settings, tuning), problem, Cs)


def objective(w, b, X, y, C) -> float:
    """In float64, as it is written; y is +1, -1, or 0 where ignored."""
    loss = np.where(y, np.maximum(0, 1 - y * (X.astype(float) @ w.astype(float) + b)), 0)
    return float((w.astype(float) @ w + float(b) ** 2) / 2 + C * loss @ loss)


def lower_bound(X, y, C) -> float:
    """The dual objective sum a - |A' (y a)|^2 / 2 - |a|^2 / 4C at some a >= 0: none of them is above the minimum.

    a solves min |B a - t|^2 for the B with B' B = M, M the matrix of the dual, and B' t = 1.
    """
    A = np.c_[X.astype(float), np.ones(len(X))][y != 0] * y[y != 0, None]
    M = A @ A.T + np.eye(len(A)) / (2 * C)
    B = np.linalg.cholesky(M).T
    a = nnls(B, np.linalg.solve(B.T, np.ones(len(A))), maxiter=100 * len(A))[0]
    return float(a.sum() - a @ M @ a / 2)


def samples(n, dim, classes, noise, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n, dim) of norm 1, not negative, around a centre a class, and bool (n, classes)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    X = np.maximum(rng.normal(size=(classes, dim))[labels] + noise * rng.normal(size=(n, dim)), 0)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), labels[:, None] == np.arange(classes)


@st.composite
def problems(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (n, dim) and y (n, 3), +1, -1 and 0: wide and tall, clean and noisy, small and large, some odd rows."""
    n, dim = draw(st.integers(6, 60)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    y = np.where(rng.random((n, 3)) < draw(st.sampled_from([0.1, 0.5])), 1, -1)
    X = np.maximum(y[:, :1] * rng.normal(size=dim) + draw(st.sampled_from([0.1, 1, 5])) * rng.normal(size=(n, dim)), 0)
    X /= np.linalg.norm(X, axis=1, keepdims=True) + 1e-9
    X *= draw(st.sampled_from([1, 1, 0.01, 30]))
    if draw(st.booleans()):
        X[: n // 3] = X[n // 3 : 2 * (n // 3)]  # the same descriptor, some with another label
    if draw(st.booleans()):
        X[rng.random(n) < 0.2] = 0
    y[rng.random((n, 3)) < draw(st.sampled_from([0, 0.5]))] = 0
    y[:2] = [[1], [-1]]
    return X.astype(np.float32), y


class TestOptimum:
    @given(problem=problems(), C=st.sampled_from(CS))
    @settings(max_examples=60, deadline=None)
    def test_the_objective_is_within_1e_4_of_a_lower_bound(self, problem, C):
        X, y = problem
        found = solve(X, y > 0, [C], y == 0)
        assert found.converged.all()
        for k in range(3):
            reached = objective(found.coef[0, k], found.intercept[0, k], X, y[:, k], C)
            assert reached <= lower_bound(X, y[:, k], C) * (1 + 1e-4)

    @pytest.mark.filterwarnings("ignore:the Gram matrix")
    @pytest.mark.parametrize(
        "tuning",
        [
            pytest.param({}, id="exact"),
            pytest.param({"exact_support": 0, "rank": 20}, id="low rank"),
            pytest.param({"free_memory": 10**4}, id="factors"),
            pytest.param({"precisions": (("float64", 100),)}, id="float64"),
            pytest.param({"batch_values": 1}, id="one class at a time"),
        ],
    )
    @pytest.mark.parametrize(("n", "dim", "noise"), [(150, 300, 1.5), (240, 130, 2.0)])
    def test_each_of_its_ways_is_LinearSVCs(self, tuning, n, dim, noise):
        """Objectives at each C, predictions and average precisions on new samples."""
        X, positive = samples(n + 90, dim, 3, noise)
        X, new, positive, truth = X[:n], X[n:], positive[:n], positive[n:]
        ours = solve(X, positive, tuning=NewtonTuning(**tuning))
        assert ours.converged.all()
        for i, C in enumerate(CS):
            plain = [LinearSVC(C=C, tol=1e-7, max_iter=10**5, random_state=0).fit(X, column) for column in positive.T]
            for k, (model, column) in enumerate(zip(plain, np.where(positive, 1, -1).T, strict=True)):
                theirs = objective(model.coef_[0], model.intercept_[0], X, column, C)
                assert objective(ours.coef[i, k], ours.intercept[i, k], X, column, C) == pytest.approx(theirs, rel=1e-4)
            scores = new @ ours.coef[i].T + ours.intercept[i]
            wanted = np.transpose([model.decision_function(new) for model in plain])
            np.testing.assert_allclose(scores, wanted, atol=5e-3)
            precisions = [
                [average_precision_score(*pair) for pair in zip(truth.T, s.T, strict=True)] for s in (scores, wanted)
            ]
            np.testing.assert_allclose(*precisions, atol=5e-4)

    def test_two_samples_by_hand(self):
        """x = 1 and 0, y = 1 and -1, C = 1/2: w = 1 - w - b and b = (1 - w - b) - (1 + b), so (w, b) = (3, -1) / 5."""
        found = solve(np.array([[1], [0]], np.float32), np.array([[True], [False]]), [0.5])
        np.testing.assert_allclose([found.coef[0, 0, 0], found.intercept[0, 0]], [0.6, -0.2], rtol=1e-6)

    def test_a_third_sample_beyond_the_margin_changes_nothing(self):
        """With y = 1 at x = 3 the score is 1.6 there; at x = 2 it would be 1, the margin itself."""
        for x in (3, 2):
            X, positive = np.array([[1], [0], [x]], np.float32), np.array([[True], [False], [True]])
            found = solve(X, positive, [0.5])
            np.testing.assert_allclose([found.coef[0, 0, 0], found.intercept[0, 0]], [0.6, -0.2], rtol=1e-5)

    def test_all_but_a_few_ignored(self):
        X, positive = samples(200, 50, 4, 1.0)
        ignore = np.zeros_like(positive)
        kept = np.array([1, 2, 5, 17])  # 1, 5, 17 are of class 1
        ignore[:, 1] = ~np.isin(np.arange(200), kept)
        found = solve(X, positive, CS, ignore)
        for i, C in enumerate(CS):
            plain = LinearSVC(C=C, tol=1e-9, max_iter=10**5).fit(X[kept], positive[kept, 1])
            np.testing.assert_allclose(found.coef[i, 1], plain.coef_[0], atol=1e-3)

    def test_the_way_to_a_C_does_not_matter(self):
        X, positive = samples(120, 200, 3, 1.5)
        together = solve(X, positive)
        for i, C in enumerate(CS):
            alone = solve(X, positive, [C])
            np.testing.assert_allclose(X @ together.coef[i].T, X @ alone.coef[0].T, atol=5e-3)

    @pytest.mark.parametrize(
        "convert", [np.float16, np.float64, np.asfortranarray, lambda X: np.repeat(X, 2, 1)[:, ::2]]
    )
    def test_types_and_strides_of_X(self, convert):
        X, positive = samples(60, 40, 3, 1.0)
        X = X.astype(np.float16).astype(np.float32)
        X.setflags(write=False)
        one, other = solve(X, positive), solve(convert(X), positive)
        np.testing.assert_allclose(one.coef, other.coef, atol=1e-5)

    def test_the_same_input_gives_the_same_numbers(self):
        tuning = NewtonTuning(exact_support=20)
        X, positive = samples(300, 200, 4, 1.5)
        before = torch.get_rng_state()
        one = solve(X, positive, tuning=tuning)
        torch.rand(3)
        np.testing.assert_array_equal(one.coef, solve(X, positive, tuning=tuning).coef)
        torch.set_rng_state(before)
        solve(X, positive)
        assert torch.equal(torch.get_rng_state(), before)


class TestLimits:
    def test_without_memory_for_the_Gram_matrix(self):
        X, positive = samples(150, 200, 3, 1.5)
        whole = solve(X, positive)
        with pytest.warns(RuntimeWarning, match="Gram matrix of 150 descriptors takes .* GB, and 0.0 GB"):
            without = solve(X, positive, tuning=LITTLE_MEMORY)
        assert without.converged.all()
        np.testing.assert_allclose(without.coef, whole.coef, atol=3e-3)

    def test_tall_problems_need_none(self):
        assert solve(*samples(150, 50, 3, 1.5), tuning=LITTLE_MEMORY).converged.all()  # a warning would be an error

    def test_float64_solves_what_rounding_spoils(self):
        """Norms of 100 at C = 256 are as norms of 1 at C = 2,560,000."""
        X, positive = samples(60, 40, 3, 2.0)
        X *= 100
        found = solve(X, positive, [256.0])
        assert found.converged.all()
        for k in range(3):
            y = np.where(positive[:, k], 1, -1)
            reached = objective(found.coef[0, k], found.intercept[0, k], X, y, 256.0)
            assert reached <= lower_bound(X, y, 256.0) * (1 + 1e-4)

    def test_what_does_not_converge_says_so(self, monkeypatch):
        one_step = partial(path.NewtonPath, tuning=NewtonTuning(precisions=(("float32", 1),)))
        monkeypatch.setitem(SOLVERS, "one step", one_step)
        X, positive = samples(60, 40, 3, 2.0)
        seen = []
        with pytest.warns(ConvergenceWarning, match="3 of 3 classes did not converge at C=16"):
            svm = LinearSVM(16.0, jobs=1, device="cpu", solver="one step", progress=lambda *one: seen.append(one))
            svm.fit(X, positive)
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_descriptors_beyond_float32(self):
        X, positive = samples(60, 40, 3, 2.0)
        with pytest.raises(UsageError, match="too large"):
            solve(X.astype(float) * 1e200, positive)

    def test_devices(self):
        X, positive = samples(12, 9, 2, 0.5)
        with pytest.raises(UsageError, match="not supported"):
            LinearSVM(device="meta").fit(X, positive)
        with pytest.raises(UsageError, match="not found"):
            LinearSVM(device="cuda:99").fit(X, positive)

    def test_torchs_settings_are_the_callers_again(self):
        during = []
        matmul = torch.backends.cuda.matmul

        def broken(*_):
            tf32 = matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32
            during.append((torch.get_num_threads(), tf32))
            raise KeyboardInterrupt

        before = torch.get_num_threads()
        torch.set_num_threads(3)
        torch.set_float32_matmul_precision("high")
        try:
            with pytest.raises(KeyboardInterrupt):
                solve(*samples(12, 9, 2, 0.5), progress=broken)
            assert during == [(1, False)]
            assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (3, "high")
        finally:
            torch.set_num_threads(before)
            torch.set_float32_matmul_precision("highest")

    def test_importing_the_package_does_not_import_torch(self):
        code = "import sys, vggfeat.svm; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestParts:
    @pytest.mark.parametrize("form", [kernel.Gram, kernel.Factors])
    def test_the_kernel(self, form):
        rng = np.random.default_rng(0)
        X, V, rows = rng.normal(size=(23, 12)).astype(np.float32), rng.normal(size=(4, 23)), [3, 22, 0]
        G = X.astype(float) @ X.T.astype(float) + 1
        one = form(torch.from_numpy(X), torch.float64, CPU, NewtonTuning(rows=7, columns=5))
        np.testing.assert_allclose(one.product(torch.from_numpy(V)), V @ G, rtol=1e-12)
        np.testing.assert_allclose(one.block(torch.tensor(rows)), G[np.ix_(rows, rows)], rtol=1e-12)
        assert one.scale == pytest.approx(np.diag(G).mean())
        coef, intercept = one.weights(torch.from_numpy(V))
        np.testing.assert_allclose(coef, V @ X, rtol=1e-5)
        np.testing.assert_allclose(intercept, V.sum(1), rtol=1e-5)
        values, vectors = one.leading  # G has rank 13 of 23
        np.testing.assert_allclose(values[:13], np.linalg.eigvalsh(G)[::-1][:13], rtol=1e-9)
        np.testing.assert_allclose(vectors * values @ vectors.T, G, atol=1e-9)

    @pytest.mark.parametrize("inverse", [systems.Exact, systems.LowRank])
    def test_the_inverses_are_inverse_where_the_rank_suffices(self, inverse):
        """G of rank 9 = 8 + 1 is all in the leading part, so both are (G_SS + I / 2C)^-1, up to a factor."""
        rng = np.random.default_rng(0)
        X, C = torch.from_numpy(rng.normal(size=(40, 8)).astype(np.float32)), 4.0
        G = kernel.Gram(X, torch.float64, CPU, NewtonTuning())
        support = torch.from_numpy(rng.random((3, 40)) < 0.5)
        r = torch.from_numpy(rng.normal(size=(3, 40))) * support
        for z, one, inside in zip(inverse(G, support, C)(r), r, support, strict=True):
            back = (G.G[inside][:, inside] + torch.eye(int(inside.sum())) / (2 * C)) @ z[inside]
            np.testing.assert_allclose(back / back.norm(), one[inside] / one.norm(), atol=1e-6)
            assert not z[~inside].any()

    def test_conjugate_gradients_need_few_products_for_few_eigenvalues(self):
        """G = diag(1, 4, 16, 64, ...) + 1 has 8 distinct ones; steepest descent would need hundreds."""
        tuning = NewtonTuning(exact_support=0, max_products=20, rank=1)
        X, C = torch.diag(torch.tensor([1.0, 2.0, 4.0, 8.0]).repeat(10)), 4.0
        G = kernel.Gram(X, torch.float64, CPU, tuning)
        y = torch.where(torch.arange(80).view(2, 40) % 3 == 0, 1.0, -1.0).double()
        nowhere = systems.Point(torch.zeros_like(y), torch.zeros_like(y))
        found = systems.solve_systems(G, torch.ones_like(y).bool(), y, C, nowhere, torch.zeros(2, dtype=torch.float64))
        wanted = torch.linalg.solve(G.G + torch.eye(40) / (2 * C), y.T).T
        np.testing.assert_allclose(found.b, wanted, atol=1e-8)
        np.testing.assert_allclose(found.f, wanted @ G.G, atol=1e-8)

    def test_the_gap_is_that_of_the_definitions(self):
        """Primal minus dual, over the primal, at a random point that is allowed in the dual."""
        rng = np.random.default_rng(0)
        X, C = rng.normal(size=(30, 6)), 3.0
        y, a = np.where(rng.random(30) < 0.5, 1.0, -1.0), np.maximum(rng.normal(size=30), 0)
        y[:4], a[:4] = 0, 0
        w, b = (a * y) @ X, (a * y).sum()
        primal = objective(w, b, X, y, C)
        dual = a.sum() - (w @ w + b * b) / 2 - a @ a / (4 * C)
        point = systems.Point(*(torch.from_numpy(v)[None] for v in (a * y, X @ w + b)))
        signs = torch.from_numpy(y)[None]
        assert float(newton.objective(point, signs, C)) == pytest.approx(primal, rel=1e-12)
        assert float(newton.relative_gap(point, signs, C)) == pytest.approx((primal - dual) / primal, rel=1e-12)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    tuning = NewtonTuning(exact_support=100)  # so that both kinds of inverses are used
    X, positive = samples(800, 1200, 5, 1.5)
    problem = Problem(X, positive, np.zeros_like(positive))
    torch.set_float32_matmul_precision("high")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cpu, gpu = (solve_problem(problem, CS, SolverSettings(device=device), tuning) for device in ("cpu", "cuda"))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert gpu.converged.all()
    np.testing.assert_allclose(gpu.coef, cpu.coef, atol=3e-3)
