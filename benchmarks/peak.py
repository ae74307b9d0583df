"""Run a command, its output to nowhere; print its seconds and the most memory it had, in GiB. peak.py COMMAND ...

A process of its own: a child begins with the size of the process that it was forked from.
"""

import resource
import subprocess
import sys
import time

begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30
print(time.perf_counter() - begun, peak)
