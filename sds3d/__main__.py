"""python -m sds3d."""

from sds3d.cli.main import program

program()
