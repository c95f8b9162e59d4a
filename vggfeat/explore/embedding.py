"""From descriptors to places on a plane: PCA, and t-SNE over a graph of nearest neighbours."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from vggfeat.aggregate import l2_normalise
from vggfeat.neighbours import Neighbours

FEWEST = 20  # photos; of fewer t-SNE makes nothing that PCA does not show
_FEW = 10_000  # photos; of fewer, threads cost more than they save
_SAMPLE = 1000  # rows from which the axes of PCA are found; the rows are in random order
_STEPS = ((250, 12.0, 0.5), (500, 1.0, 0.8))  # steps, exaggeration and momentum: the defaults of openTSNE
_LINKS = 0.02  # the share of links between random photos
_AT_ONCE = 25  # steps between two maps


def pca(X: np.ndarray) -> np.ndarray:
    """The first two principal components, float (N, 2); zeros if there are fewer. The axes are those of a sample."""
    sample = X[:_SAMPLE] - X[:_SAMPLE].mean(axis=0)
    vectors = np.linalg.eigh(sample @ sample.T)[1][:, :-3:-1]  # of the Gram matrix: the sample is small, D is large
    axes = np.zeros((X.shape[1], 2), X.dtype)
    axes[:, : vectors.shape[1]] = sample.T @ vectors
    return X @ l2_normalise(axes.T).T


def tsne(first: np.ndarray, graph: Neighbours) -> Iterator[tuple[float, np.ndarray]]:
    """The share of the work that is done, and the places float64 (N, 2), every few steps.

    first : places to begin with.
    """
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PrecomputedAffinities
    from openTSNE.initialization import rescale

    rng = np.random.default_rng(0)
    apart = rng.normal(scale=1e-6, size=first.shape)  # equal photos must not stay at one place
    jobs = -1 if len(first) > _FEW else 1
    affinities = PrecomputedAffinities(_affinities(graph, rng))
    embedding = TSNEEmbedding(rescale(first + apart), affinities, n_jobs=jobs, random_state=0)
    done, steps = 0, sum(steps for steps, _, _ in _STEPS)
    for more, exaggeration, momentum in _STEPS:
        for _ in range(0, more, _AT_ONCE):
            embedding.optimize(_AT_ONCE, inplace=True, exaggeration=exaggeration, momentum=momentum)
            done += _AT_ONCE
            yield done / steps, np.array(embedding)


def _affinities(graph: Neighbours, rng: np.random.Generator) -> Any:
    """How strongly photos attract each other, sparse (N, N), in all 1.

    A weak link of each photo to a random one holds together the parts of the graph that have no link between them,
    which would drift apart without end.
    """
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors
    from scipy.sparse import csr_array

    n, k = graph.rows.shape
    distances = np.sqrt(np.maximum(2 - 2 * graph.cosines, 0))  # of rows of norm 1
    near = PerplexityBasedNN(knn_index=PrecomputedNeighbors(graph.rows, distances), perplexity=k / 3).P
    links = csr_array((np.full(n, 0.5 / n), rng.integers(n, size=n), np.arange(n + 1)), shape=(n, n))
    return (1 - _LINKS) * near + _LINKS * (links + links.T)


def fitted(places: np.ndarray) -> np.ndarray:
    """Places moved and scaled into 0..1, float32 (N, 2), with the same scale on both axes."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    return (0.5 + (places - (low + high) / 2) / extent).astype(np.float32)
