"""Commands that training adds to ``ps3d-rt``, one file each."""
