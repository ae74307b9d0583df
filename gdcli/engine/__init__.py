"""The one engine that trains everything: flat parameters, kernels, the loop."""
