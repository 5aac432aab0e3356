"""Training for ps3d-rt: labelled samples in, a model bundle out. Heavy packages load on use."""
