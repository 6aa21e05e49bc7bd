"""What happens to memberships when the process ends or forks."""

from __future__ import annotations

import atexit
import os
import sys
import weakref

from .session import Session

sessions: weakref.WeakSet[Session] = weakref.WeakSet()
"""Those of this process."""


def leave_all() -> None:
    """Leaves all clusters, with the error that ends the process, if one does."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    reason = f"{type(error).__name__}: {error}" if error else "the training has ended"
    for session in list(sessions):
        session.close(reason, 0 if error is None else 1)


def forget_all() -> None:
    """In a forked process: lets go of everything."""
    for session in list(sessions):
        session.forget()


atexit.register(leave_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)
