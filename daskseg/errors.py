"""Errors and warnings that a user of daskseg can meet.

The tree::

    DasksegError
    ├── UsageError (ValueError)            wrong argument, option, study file or target  exit 2
    ├── InputError (ValueError)            the data is at fault                          exit 4
    │   ├── BadValueError                  ... because of a value of a column            exit 4
    │   └── SchemaMismatchError            scoring data lacks or adds features           exit 6
    ├── ArtifactError (ValueError)         unreadable store or model, other format       exit 6
    ├── MemoryBudgetError (MemoryError)    the plan cannot fit                           exit 5
    ├── ClusterError (RuntimeError)        workers missing or lost                       exit 5
    └── MissingExtraError (ImportError)    an optional library is not installed          exit 2

Every class keeps all its arguments in ``args``, so that an error raised inside a task
can be rebuilt on the client.
"""

from __future__ import annotations

import warnings
from typing import ClassVar


class DasksegError(Exception):
    """Base class of all errors that daskseg raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(DasksegError, ValueError):
    """An argument, an option, a study file or a target directory is wrong."""

    exit_code = 2


class InputError(DasksegError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 4


class BadValueError(InputError):
    """A value of a column cannot be used.

    Parameters
    ----------
    message : str
    column : str
        Header of the column.
    value : str
        The value, as text without blanks at its ends.
    """

    def __init__(self, message: str, column: str, value: str) -> None:
        super().__init__(message, column, value)
        self.column = column
        self.value = value

    def __str__(self) -> str:
        return str(self.args[0])


class SchemaMismatchError(InputError):
    """Data to be scored lack features of the model, or have others."""

    exit_code = 6


class ArtifactError(DasksegError, ValueError):
    """A store or a model cannot be read, or has another format version."""

    exit_code = 6


class MemoryBudgetError(DasksegError, MemoryError):
    """The work cannot fit the memory it may use."""

    exit_code = 5


class ClusterError(DasksegError, RuntimeError):
    """Workers are missing or were lost."""

    exit_code = 5


class MissingExtraError(DasksegError, ImportError):
    """An optional library is not installed."""

    exit_code = 2


class DasksegWarning(UserWarning):
    """Something that the user should know; the result stands."""


def warn(message: str, stacklevel: int = 2) -> None:
    """Issue a `DasksegWarning` at the caller's caller.

    Parameters
    ----------
    message : str
        What was found and what was done about it.
    stacklevel : int
        As in `warnings.warn`, counted from the caller of this function.
    """
    warnings.warn(message, DasksegWarning, stacklevel=stacklevel + 1)
