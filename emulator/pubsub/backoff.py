"""How long a message waits before it is delivered again, and how fast a push may go.

1. retry_policy: the n-th failure of a message waits minimum_backoff * 2^(n-1), spread a little
   upwards, never below minimum_backoff and never above maximum_backoff.
2. Without a policy a pull subscription delivers again at once.
3. Without a policy a push subscription stops as a whole for 100 ms, doubling to 60 s with
   each further failure in a row; one success ends it.
4. The push window starts small, doubles with every window of successes, halves on a failure.

Sources: google.pubsub.v1.RetryPolicy; "push backoff" and "delivery rate" of
https://cloud.google.com/pubsub/docs/push. The numbers of rule 4 are ours: production does
not publish them ("slow-start").
"""

from emulator.clock import SECOND_US

JITTER = 0.2
FIRST_PUSH_PAUSE_US = SECOND_US // 10
MAX_PUSH_PAUSE_US = 60 * SECOND_US
FIRST_WINDOW = 3
MAX_WINDOW = 100  # one machine serves both ends: more requests in flight only wait for each other


def retry_delay_us(minimum_us: int, maximum_us: int, failures: int, spread: float) -> int:
    """Wait after the `failures`-th failure (from 1); `spread` is a random number in [0, 1)."""
    doublings = min(failures - 1, 40)
    delay_us = min(minimum_us << doublings, maximum_us)
    return min(round(delay_us * (1 + JITTER * spread)), maximum_us)


class PushPace:
    """The window and the pause of one push subscription."""

    __slots__ = ("_failures", "_paused_until_us", "_successes", "window")

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self._successes = 0
        self._failures = 0
        self._paused_until_us = 0

    def success(self) -> None:
        """A push was acked."""
        self._failures = 0
        self._successes += 1
        if self._successes >= self.window and self.window < MAX_WINDOW:
            self._successes = 0
            self.window = min(self.window * 2, MAX_WINDOW)

    def failure(self, started_us: int, now_us: int, *, pause: bool) -> int:
        """A push that began at `started_us` failed; until when nothing is to be pushed.

        Failures of pushes that were already under way when the last pause began are part of
        that failure: they prolong nothing. Without `pause` (a retry_policy rules) only the
        window shrinks.
        """
        self._successes = 0
        if started_us < self._paused_until_us:
            return self._paused_until_us
        self.window = max(1, self.window // 2)
        if not pause:
            return now_us
        pause_us = min(FIRST_PUSH_PAUSE_US << min(self._failures, 20), MAX_PUSH_PAUSE_US)
        self._failures += 1
        self._paused_until_us = now_us + pause_us
        return self._paused_until_us
