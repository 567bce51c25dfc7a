"""Whether a table fits what a sweep searches."""

from __future__ import annotations

from collections.abc import Iterator

from models.planning.faults import SpecError, SpecFault
from models.planning.resolve import resolve
from models.spec import TrainingSpec
from models.sweeps.documents import Document
from models.sweeps.space import Space
from models.tables.profile import Profile


def resolved_base(base: Document, profile: Profile) -> TrainingSpec:
    """What all trials have in common, resolved; with the recipe's network if it names no other.

    Raises
    ------
    SpecError: with pointers into the sweep's document.
    """
    if "architecture" not in base:
        base = {**base, "effort": "quick"}
    try:
        return resolve(TrainingSpec.model_validate(base), profile)
    except SpecError as error:
        raise SpecError([_in_sweep(fault) for fault in error.faults]) from error


def check_table(space: Space, profile: Profile) -> None:
    """
    Raises
    ------
    SpecError: listing bounds and choices that no trial on this table could have, such as a kernel
        for classes.
    """
    resolved_base(space.base, profile)
    faults = [
        SpecFault(pointer, fault.detail)
        for pointer, document in _tried(space)
        for fault in _faults_of(document, profile)
    ]
    if faults:
        raise SpecError(faults)


def _tried(space: Space) -> Iterator[tuple[str, Document]]:
    """A trial for each bound and each choice, with its place in the sweep's document."""
    for own in space.dimensions:
        host = next(host for host in space.hosts if own.applies_to(host["type"]))
        for place, value in own.values.tried():
            point = {"architecture": host} if space.searches_architectures else {}
            yield f"{own.pointer}/{place}", space.document(point | {own.name: value})


def _faults_of(document: Document, profile: Profile) -> list[SpecFault]:
    try:
        resolve(TrainingSpec.model_validate(document), profile)
    except SpecError as error:
        return error.faults
    return []


def _in_sweep(fault: SpecFault) -> SpecFault:
    place = "" if fault.pointer == "/target" else "/spec"
    return SpecFault(place + fault.pointer, fault.detail)
