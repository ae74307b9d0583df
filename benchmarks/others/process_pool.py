"""A pool of two processes, forked once torch is there."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from task import RATES, last_loss, show

if __name__ == "__main__":
    method = "fork" if "fork" in __import__("multiprocessing").get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        show(list(pool.map(last_loss, RATES, chunksize=10)))
