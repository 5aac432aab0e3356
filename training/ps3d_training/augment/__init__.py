"""How training patches are varied: presets, transforms, and particles pushed against each other."""
