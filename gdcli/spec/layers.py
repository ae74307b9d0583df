"""Torch's own layers in a spec: what can be told of them without torch."""

from __future__ import annotations

from gdcli.errors import Problem
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import got
from gdcli.zoo.models import Stack

TAKEN = frozenset((
    "T_destination", "add_module", "append", "apply", "bfloat16", "buffers", "call_super_init", "children",
    "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extend", "extra_repr", "float", "forward",
    "get_buffer", "get_extra_state", "get_parameter", "get_submodule", "half", "insert", "ipu", "load_state_dict",
    "modules", "mtia", "named_buffers", "named_children", "named_modules", "named_parameters", "parameters", "pop",
    "register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_module", "register_parameter", "register_state_dict_post_hook",
    "register_state_dict_pre_hook", "requires_grad_", "set_extra_state", "set_submodule", "share_memory",
    "state_dict", "to", "to_empty", "train", "training", "type", "xpu", "zero_grad",
))  # fmt: skip
"""What torch's modules have by themselves: no layer can be called so."""


def layer_problems(spec: RunSpec, model: Stack) -> list[Problem]:
    """Return what is wrong with the layers' names, and with what a layer cannot have of its own."""
    problems = []
    for layer in model.layers:
        if layer.name in TAKEN or layer.name.startswith("_"):
            what = f"torch's modules have something else of that name {got(layer.name)}"
            problems.append(spec.problem(("model", *layer.path, "name"), what, "Give the layer another"))
        for key in ("device", "dtype"):
            if key in layer.arguments:
                what, hint = f"a layer has no {key} of its own", f"Set {key} at the top of the spec"
                problems.append(spec.problem(("model", *layer.path, key), what, hint, at_key=True))
    return problems
