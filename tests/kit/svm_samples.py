"""Samples for SVMs, and scikit-learn's solution of them."""

import numpy as np
from sklearn.svm import LinearSVC


def descriptors(n: int, dim: int, classes: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative float32 rows of norm 1, as descriptors are, around one centre a class; labels in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    X = np.maximum(rng.normal(size=(classes, dim))[labels] + noise * rng.normal(size=(n, dim)), 0)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), labels


def plain_fit(X: np.ndarray, positive: np.ndarray, C: float) -> LinearSVC:
    return LinearSVC(C=C, dual=True, tol=1e-6, max_iter=100_000, random_state=1).fit(X, positive)
