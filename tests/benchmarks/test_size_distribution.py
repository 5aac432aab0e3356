import json

import numpy as np

import size_distribution as script
from ps3d_rt.core.distribution import edge_weights


def test_boxes_are_cut_by_the_faces():
    start = np.array([[-5, 10, 10], [10, 490, 10], [700, 10, 10], [20, 20, 20]])
    table = script.cut(start, start + 20)
    assert table.volume_voxels.tolist() == [15 * 20 * 20, 20 * 10 * 20, 20**3]
    assert table.touches_edge.tolist() == [True, True, False]
    assert edge_weights(table, script.SHAPE)[2] > 1


def test_the_result_says_where_the_correction_is_right_and_the_others_are_not(tmp_path, capsys):
    out = tmp_path / "sizes.json"
    script.main(["--count", "20000", "--seeds", "2", "--out", str(out)])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert len(content["rows"]) == len(script.FORMS) * len(script.MEDIAN_VOXELS)
    large = content["rows"][2]
    assert abs(large["corrected_d50_by_number_error"]) < 0.02 < -large["whole_d50_by_number_error"]
    assert abs(large["corrected_d50_by_number_error"]) <= abs(large["corrected_d50_by_number_error_largest"])
    assert large["raw_d50_by_volume_error"] < -0.02
    assert content["versions"]["numpy"] == np.__version__
    assert capsys.readouterr().out.count("\n") == 2 + 2 * len(content["rows"])
