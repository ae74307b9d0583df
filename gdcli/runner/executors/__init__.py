"""How the runs of a sweep or comparison are carried out: threads, processes, Dask."""
