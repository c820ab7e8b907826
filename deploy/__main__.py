"""`python -m deploy`."""

import signal
import sys

# Until the command line takes the signals over, a Ctrl-C ends us at once and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from deploy.cli import main  # noqa: E402 - after the line above

sys.exit(main())
