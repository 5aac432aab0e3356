"""An output in the viewers of others: napari on this machine, Neuroglancer in a browser."""
