"""What the user must put right, in two parts: what was found, and what mends it."""

from emulator.errors import SetupError


class UnmetError(SetupError):
    """A thing that must be there is not. `mend` is what to do, mostly a command to paste."""

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(f"{found}\n{mend}")
        self.found = found
        self.mend = mend
