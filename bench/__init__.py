"""Measures the server against what ONNX Runtime does alone."""
