"""The way of the data, a file a stage, in this order.

    gray_scale      scan → what its gray values mean
    particle_size   scan → how large its particles are, if nobody said
    segment         scan → border-core map and scores, on the normalized grid
    particles       border-core map → particles; growth is a part of it
    confidence      scores → how sure the network is of every particle
    table           particles → table, on the source grid
    labels          particles → labels, on the source grid

Each is a list of tasks: pure functions of a description, safe to repeat, that read and write stores. What the stages
share: prediction (what decides the labels), storage (where a run keeps what it makes), run (its state), boxes (of the
source grid), summary (what was found). Where it is computed: ps3d_rt.devices.
label_slabs does for labels from elsewhere what table does for ours.
"""
