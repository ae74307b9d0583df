"""Dask's LocalCluster of two processes."""

from distributed import Client, LocalCluster
from task import asked, points, show

if __name__ == "__main__":
    function, axes = asked()
    runs = points(axes)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        show(runs, client.gather([client.submit(function, pure=False, **run) for run in runs]))
