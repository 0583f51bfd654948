"""``python -m attnmask``: the command line."""

import sys

from attnmask.cli import main

sys.exit(main())
