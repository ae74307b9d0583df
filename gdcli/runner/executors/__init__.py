"""How the runs of a sweep or comparison are executed: threads, processes, Dask."""
