"""`python -m khmer_fast` is the program `khmer-fast`."""

import sys

from khmer_fast.cli import main

sys.exit(main())
