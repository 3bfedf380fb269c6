"""Runs a plan, whatever it is for: what was done stays on disk until the result is settled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Union

from . import cache
from .classification.classifying import ClassificationResult, classified
from .detecting import InferenceResult, detected
from .errors import InferenceError
from .feedback import Feedback
from .journal import Journal
from .plan import InferencePlan
from .resuming import telling_what_is_kept
from .secrets import Discreet, Secrets

Result = Union[InferenceResult, ClassificationResult]


@contextmanager
def run_plan(plan: InferencePlan, feedback: Feedback) -> Iterator[Result]:
    """Run a plan; the result can be read until the context ends.

    What has been done stays on disk, and the same plan goes on from there, unless the result was settled.

    Raises:
        InferenceError: The run could not start, stopped or was cancelled.
    """
    with ExitStack() as stack:
        cache.remove_all_abandoned()
        told = Discreet(feedback, Secrets(plan.values, plan.secrets))
        journal = Journal(plan.fingerprint, plan.restart)
        stack.callback(journal.close)
        try:
            result: Result = (detected if plan.features is None else classified)(plan, journal, told)
        except InferenceError as error:
            raise told.about(telling_what_is_kept(error, journal)) from error
        yield result
