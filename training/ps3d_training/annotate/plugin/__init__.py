"""Annotation in napari: layers and keys (``desk``), and the panels beside them (``panels``)."""
