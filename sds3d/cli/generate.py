"""sds3d generate: make an asset from a prompt, or continue an unfinished run of the same prompt and config."""

from __future__ import annotations

import argparse

from sds3d.cli.prior_option import HELP, preset_for, prior_overrides
from sds3d.cli.terminal import typed
from sds3d.files import user_path

EXAMPLES = """\
examples:
  sds3d generate "a red mushroom with white dots"
  sds3d generate "a red mushroom" seed=1 stages.0.steps=400
  sds3d generate "a red mushroom" --config quality out=/data/assets
  sds3d generate "a red mushroom" --prior mvdream-sd2.1
  sds3d generate seed=1 -- "$PROMPT"      (any text is a prompt after --)
"""


def main(argv: list[str]) -> int:
    """Makes the asset; returns the exit code."""
    parser = argparse.ArgumentParser(
        "sds3d generate",
        usage="sds3d generate [--config FILE] [--prior PATH_OR_NAME] [--debug] PROMPT [key=value ...]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="PROMPT key=value", help="what to make, in quotes; config values")
    parser.add_argument("--config", type=user_path, metavar="FILE", help="a YAML file, or the name of a preset")
    parser.add_argument("--prior", metavar="PATH_OR_NAME", help=HELP)
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    argv, literal = split_literal(argv)
    args = parser.parse_intermixed_args(argv)
    words = literal + args.words
    if not words:
        parser.error("the prompt is missing")

    from sds3d.cli.work import report_finished, work
    from sds3d.config.load import load_config
    from sds3d.preflight.check import preflight
    from sds3d.priors.kinds import prior_ids
    from sds3d.runs.folder import RunFolder

    chosen = prior_overrides(args.prior)
    cfg = load_config(args.config or preset_for(args.prior), chosen + words[1:], typed(words[0]))
    found = preflight(cfg)
    run = RunFolder.create(cfg, prior_ids(cfg, found))
    if run.finished:
        return report_finished(cfg, run)
    return work(cfg, run, found)


def split_literal(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before and after the first `--`; those after it are never options."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]
