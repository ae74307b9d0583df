"""Joblib's own processes, two of them."""

from joblib import Parallel, delayed
from task import asked, points, show

if __name__ == "__main__":
    function, axes = asked()
    runs = points(axes)
    show(runs, Parallel(n_jobs=2, backend="loky")(delayed(function)(**run) for run in runs))
