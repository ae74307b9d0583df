"""A record's model for other programs: torch's state dict, or an ONNX graph."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from gdcli.commands.context import Frontend
from gdcli.commands.trained import trained_record
from gdcli.errors import MachineError
from gdcli.storage.run_folder import scratch


def state_dict(folder: Path, frontend: Frontend) -> bytes:
    """Return parameters and buffers as a file that ``torch.load(weights_only=True)`` reads, the same for the same.

    Raises what :func:`gdcli.commands.trained.trained_record` raises.
    """
    found = trained_record(folder, frontend)
    import torch

    from gdcli.engine.modules import state_of

    stream = io.BytesIO()
    torch.save(state_of(found.spec, found.architecture, found.arrays), stream)
    return stream.getvalue()


def onnx_graph(record: Path, frontend: Frontend) -> bytes:
    """Return the model as an ONNX graph from ``x``, rows of ``data.shape`` or [rows, D], to ``output``.

    Its rows are prepared as preprocessing.json says. Raises MachineError without the extra, and what
    :func:`gdcli.commands.trained.trained_record` raises.
    """
    found = trained_record(record, frontend)
    import torch

    from gdcli.engine.meta_device import read_rules
    from gdcli.engine.modules import module_of
    from gdcli.engine.prediction import dtype_of

    read_rules()
    module = module_of(found.spec, found.architecture, found.arrays)
    rows = torch.zeros((2, *found.row_shape), dtype=dtype_of(found.spec))
    try:
        import onnx  # noqa: F401  an extra

        with scratch("onnx") as folder, warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                module, (rows,), folder / "model.onnx", input_names=["x"], output_names=["output"],
                dynamic_axes={"x": {0: "rows"}, "output": {0: "rows"}}, dynamo=False,
            )  # fmt: skip
            return (folder / "model.onnx").read_bytes()
    except ModuleNotFoundError as error:
        raise MachineError(
            f"--format onnx needs {error.name}, which is not installed: pip install 'gradient-descent-cli[onnx]'"
        ) from None
    except Exception as error:  # torch knows no graph of it
        message = next(iter(str(error).splitlines()), type(error).__name__)
        raise MachineError(f"torch makes no ONNX graph of this model: {message}") from None
