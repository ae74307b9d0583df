"""Dask's LocalCluster of two processes."""

from distributed import Client, LocalCluster
from task import RATES, last_loss, show

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        show(client.gather(client.map(last_loss, RATES)))
