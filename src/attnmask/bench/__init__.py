"""Measuring: attention beside its peers on the machine at hand."""
