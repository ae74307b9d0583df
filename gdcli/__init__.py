"""Gradient-descent and backpropagation experiments from one YAML file, exact to the digit."""

__version__ = "0.1.0"
