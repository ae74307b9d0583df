"""Kernels: forward and backward of one batch for all runs of theta, behind one protocol."""
