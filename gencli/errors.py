"""One class and one exit code per kind of failure.

Every error carries what is wrong and what to do about it; the command line prints both, a line
each.
"""

from __future__ import annotations


class GencliError(Exception):
    """A failure that the user can read and act on.

    Args:
        problem: What is wrong, in one sentence.
        cure: What to do about it, in one sentence.
    """

    exit_code = 1

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.cure = cure


class GencliWarning(UserWarning):
    """What the user should know and need not stop for; the command line prints it on one line."""


class UsageError(GencliError):
    """The command was asked for something it does not do (exit 2)."""

    exit_code = 2


class DataError(GencliError):
    """A data set is missing, damaged or out of reach (exit 3)."""

    exit_code = 3


class RunError(GencliError):
    """A run or its checkpoint is missing, damaged or of another format (exit 4)."""

    exit_code = 4


class DivergedError(GencliError):
    """A loss or a parameter stopped being finite (exit 5)."""

    exit_code = 5


class InterruptedRun(GencliError):
    """Training was stopped by Ctrl-C (130), SIGTERM (143) or a closed terminal (129)."""

    def __init__(self, problem: str, cure: str, exit_code: int) -> None:
        super().__init__(problem, cure)
        self.exit_code = exit_code


class LostProcess(GencliError):
    """Another of the processes of one command has ended."""
