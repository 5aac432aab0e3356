"""A trained model made ready for an engine: its precision, rewrites of its graph, engines, and the accuracy gate.

    cli/            ps3d-rt export onnx, precisions, engine, gate
    variant.py      a bundle → a bundle in another precision
    precisions.py   a bundle → the same with all that a CPU may run it in
    precision.py    float32 → half precision; float32 → 8 bits
    rewrites.py     other nodes, the same scores
    graph.py        what both need to know of an ONNX graph
    calibration.py  patches to measure the 8-bit scales on
    engine.py       engines built ahead of time
    gate.py         an engine against float32, on labelled samples
    verdicts.py     where its verdict is kept
    samples.py      labelled samples: a folder, or simulated ones

onnx comes with the extra ``export``; the modules that need it are imported when they are used.
"""
