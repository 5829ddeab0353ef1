"""sds3d resume: continue a run from its newest checkpoint; its folder has everything needed."""

from __future__ import annotations

import argparse

from sds3d.files import user_path


def main(argv: list[str]) -> int:
    """Finishes the run; returns the exit code."""
    parser = argparse.ArgumentParser("sds3d resume", description=__doc__)
    parser.add_argument("run", type=user_path, metavar="RUN", help="the folder of the run")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.cli.work import report_finished, work
    from sds3d.preflight.check import preflight
    from sds3d.priors.kinds import prior_ids
    from sds3d.runs.folder import RunFolder

    run, cfg = RunFolder.open(args.run, prior_ids)
    if run.finished:
        return report_finished(cfg, run)
    return work(cfg, run, preflight(cfg))
