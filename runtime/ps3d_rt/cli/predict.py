"""``ps3d-rt predict``: a scan in, a folder with labels, table and report out; or many of both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.run_options import RunOptions
from ps3d_rt.cli.table_options import TableOptions, parse_gray_bins
from ps3d_rt.errors import NothingFound


@expanded
def predict(
    scan: options.Scan,
    out: Annotated[Path, typer.Argument(help="Folder to write: labels, table, report.html, run.json.")],
    run_options: RunOptions,
    table_options: TableOptions,
    samples: Annotated[
        Path | None, options.about_batch(help="CSV that lists the samples of a folder: path, spacing, particle_size …")
    ] = None,
    part: Annotated[str | None, options.about_batch(help="Do only every n-th sample: i/n, for job arrays.")] = None,
    merge: Annotated[
        bool, options.about_batch("--merge", help="Do nothing but write the summary of what the parts have done.")
    ] = False,
    gray_bins: options.GrayBins = None,
    phases: Annotated[
        str | None, options.about_output(help="Find minerals, too: a file of phases, or auto:N to propose at most N.")
    ] = None,
    overwrite: options.Overwrite = False,
    fail_if_empty: Annotated[
        bool, options.about_output("--fail-if-empty", help="End with exit code 5 if no particle was found.")
    ] = False,
    open_report: Annotated[
        bool, options.about_output("--open", help="Open the report in a browser at the end.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Segment a scan into particles: labels (OME-Zarr), table, report and run.json.

    Ends with the number of particles, D50 and P80 with 95 % intervals, the warnings, where the report is, and the time.
    A run that was stopped goes on when it is started again.

    A folder of several scans is a batch: each gets a folder of its own in OUT, and all together a summary.

    Example: ps3d-rt predict scan.tif result --spacing 0.01
    """
    # Loaded here, so that --help and a mistyped option answer at once.
    from ps3d_rt.batch.listing import is_batch  # noqa: PLC0415
    from ps3d_rt.cli.results import open_page, print_result  # noqa: PLC0415
    from ps3d_rt.cli.run_summary import run_facts, run_rows  # noqa: PLC0415
    from ps3d_rt.output import REPORT  # noqa: PLC0415

    more = {**table_options.read(), "gray_bins": parse_gray_bins(gray_bins)}
    if phases is not None:
        from ps3d_rt.io.phases import phases_asked  # noqa: PLC0415

        more["phases"] = phases_asked(phases)
    if samples is not None or part is not None or merge or (scan.is_dir() and is_batch(scan)):
        from ps3d_rt.cli.opened import read_options  # noqa: PLC0415
        from ps3d_rt.cli.predict_batch import BatchOptions, predict_batch  # noqa: PLC0415

        chosen = BatchOptions(samples, part, merge, overwrite, open_report, as_json)
        predict_batch(scan, out, read_options(run_options, **more), chosen)
        return
    run = predict_scan(scan, out, run_options, overwrite=overwrite, **more)
    print_result(run_facts(run, out), lambda: run_rows(run, out), as_json=as_json)
    if open_report:
        open_page(out / REPORT)
    if fail_if_empty and not run["particles"]:
        raise NothingFound(f"no particle was found; {out} is complete, and its report says what to check.")


def predict_scan(scan: Path, out: Path, run_options: RunOptions, *, overwrite: bool, **more: Any) -> dict[str, Any]:
    """Segment a scan, with its progress on stderr; the content of ``run.json``.

    Args:
        scan: to open.
        out: folder to write.
        run_options: as they were typed.
        overwrite: replace an output that is there.
        more: other fields of :class:`ps3d_rt.predict_options.PredictOptions`.

    Raises:
        Ps3dError: as :func:`ps3d_rt.predict_to_folder`.
        KeyboardInterrupt: as there.
    """
    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.output import check_output, predict_to_folder  # noqa: PLC0415

    check_output(out, overwrite=overwrite)
    with listening() as on_event, opened(scan, run_options, on_event, out, **more) as ready:
        return predict_to_folder(ready, out, overwrite=overwrite, on_event=on_event)
