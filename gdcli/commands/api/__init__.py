"""The commands as functions of Python: what they print is returned, as numpy arrays and plain rows.

Nothing is written unless it is asked for.
"""

from gdcli.commands.api.comparison import Comparison, compare
from gdcli.commands.api.loading import load
from gdcli.commands.api.runs import Run, run
from gdcli.commands.api.sweeps import Sweep, sweep

__all__ = ["Comparison", "Run", "Sweep", "compare", "load", "run", "sweep"]
