"""python -m sds3d."""

import sys

from sds3d.cli.main import main

sys.exit(main())
