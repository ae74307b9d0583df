"""A pool of two processes, forked once torch is there."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context

from task import SWEEPS, asked, points, show


def one(name_and_point: tuple[str, dict[str, float]]) -> float:
    name, point = name_and_point
    return SWEEPS[name][0](**point)


if __name__ == "__main__":
    import sys

    _, axes = asked()
    runs = points(axes)
    with ProcessPoolExecutor(2, get_context("fork" if "fork" in get_all_start_methods() else "spawn")) as pool:
        show(runs, list(pool.map(one, [(sys.argv[1], run) for run in runs], chunksize=max(1, len(runs) // 20))))
