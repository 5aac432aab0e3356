"""Small text files that say how a raw volume is laid out; one file a format.

    scan.raw.json or scan.json   ours
    scan.vol.info                PyHST, of the ESRF
    scan.vgi                     VGStudio
    scan.pcr                     GE Phoenix|x-ray datos|x
    scan.xtekct                  Nikon, XTek

``.mhd`` and ``.nhdr`` are formats of their own; beside a raw file they are found too (:mod:`ps3d_rt.io.raw`).
"""
