"""`python -m emulator`."""

import os
import sys

# Before gRPC is imported: else its C core reports each connection that a stopping server closes.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from emulator.cli import main

sys.exit(main())
