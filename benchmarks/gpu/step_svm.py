"""The SVM solver at the size of Caltech-256: 15,420 x 24,576 descriptors, 257 classes, all values of C."""

import numpy as np
from job import Job
from solver import mixture, one_vs_rest, timed


def main() -> None:
    job = Job()
    n, dim, classes = (60, 96, 5) if job.rehearse else (15420, 24576, 257)
    labels = np.arange(n) % classes
    problem = one_vs_rest(mixture(labels, dim, seed=0), labels)
    job.note(train=[n, dim], classes=classes)
    solution, seconds = timed("newton", problem, -1, job.device)
    job.note(newton={clock: round(value, 2) for clock, value in seconds.items()})
    job.note(not_converged=int((~solution.converged).sum()))


if __name__ == "__main__":
    main()
