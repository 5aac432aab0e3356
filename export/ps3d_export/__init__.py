"""Engines built ahead of time from a model bundle's ONNX, and the accuracy gate they must pass. Nothing is here yet.

A model leaves training as ONNX through ``ps3d-rt train export``, and every engine of this version reads that ONNX.
"""
