"""Reads what a sweep searches, or says what is wrong with it."""

from __future__ import annotations

import json

from models.planning.faults import SpecError, SpecFault
from models.spec import TrainingSpec
from models.spec.sweep import MOST_CHOICES, MOST_PARAMETERS, Choices, Range, SweepSpec
from models.sweeps.dimensions import Dimension, Listed, Values, fault_in, values_of
from models.sweeps.documents import (
    Document,
    spec_faults,
    takes_whole_numbers_alone,
    value_fault,
)
from models.sweeps.fields import (
    NO_TRIALS,
    OF_BLENDS,
    OF_JOBS,
    WATCHES,
    full_name,
    refusal,
    refusal_with,
    types_with,
)
from models.tables.wording import pointer_part

# If neither the spec nor the space names one: the recipe's network has this type.
DEFAULT_ARCHITECTURE = {"type": "mlp"}

# By full name: each with its pointer.
Parameters = dict[str, list[tuple[str, Range | Choices]]]


def base_of(sweep: SweepSpec, target: str) -> Document:
    """What all trials have in common, with a spec's own names and without defaults.

    Raises
    ------
    SpecError: of the sweep's `spec`.
    """
    faults = [
        SpecFault(
            f"/spec/{name}",
            f'a trial has one architecture: leave \'{name}\' out, and set "keep": "blend" to add '
            "trials up",
        )
        for name in OF_BLENDS
        if name in sweep.spec
    ]
    faults += [
        SpecFault(f"/spec/{name}", NO_TRIALS.format(name))
        for name in OF_JOBS
        if sweep.spec.get(name)
    ]
    if sweep.halving is not None and sweep.spec.get("early_stopping", {}) is None:
        faults.append(SpecFault("/spec/early_stopping", WATCHES))
    if "target" in sweep.spec:
        faults.append(SpecFault("/spec/target", "the target stands beside 'spec': leave it out"))
    document = {**sweep.spec, "target": target}
    faults = faults or [*spec_faults(document, sweep.spec)]
    if faults:
        raise SpecError(faults)
    spec = TrainingSpec.model_validate(document)
    base: Document = spec.model_dump(mode="json", exclude_unset=True)
    return base


def parameters_of(sweep: SweepSpec) -> Parameters:
    """The searched fields.

    Raises
    ------
    SpecError: of names that a sweep cannot vary, and of too much at once.
    """
    found: Parameters = {}
    faults: list[SpecFault] = []
    for sent, given in (sweep.search_space or {}).items():
        pointer, name = f"/search_space/{pointer_part(sent)}", full_name(sent)
        reason = refusal(name) or refusal_with(
            name, blends=sweep.keep == "blend", halves=sweep.halving is not None
        )
        if reason is not None:
            faults.append(SpecFault(pointer, reason))
        elif name in found:
            faults.append(SpecFault(pointer, f"'{name}' is there twice, once by a short name"))
        elif isinstance(given, list):
            found[name] = [(f"{pointer}/{place}", one) for place, one in enumerate(given)]
        else:
            found[name] = [(pointer, given)]
    for name, variants in found.items():
        parts = name.split(".")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            if parent in found and parent != "architecture":
                detail = f"'{parent}' is searched as a whole: search it or its fields"
                faults.append(SpecFault(variants[0][0], detail))
    for pointer, one in found.get("architecture", ()):
        if isinstance(one, Range) or one.architectures or len(found["architecture"]) > 1:
            faults.append(SpecFault(pointer, "'architecture' takes one list of 'choices'"))
            break
    if sweep.halving is not None:
        faults += [
            SpecFault(f"{pointer}/choices/{one.choices.index(None)}", WATCHES)
            for pointer, one in found.get("early_stopping", ())
            if isinstance(one, Choices) and None in one.choices
        ]
    faults.extend(_sizes(found))
    if faults:
        raise SpecError(faults)
    return found


def _sizes(found: Parameters) -> list[SpecFault]:
    variants = [one for own in found.values() for _, one in own]
    choices = sum(len(one.choices) for one in variants if isinstance(one, Choices))
    return [
        SpecFault("/search_space", f"must have at most {most:,} {what}, has {count:,}")
        for what, count, most in (
            ("parameters", len(variants), MOST_PARAMETERS),
            ("choices in all", choices, MOST_CHOICES),
        )
        if count > most
    ]


def dimensions_of(base: Document, parameters: Parameters) -> list[Dimension]:
    """What trials differ in, the architecture first.

    Raises
    ------
    SpecError: of values that a field does not take, and of contradictions.
    """
    reader = _Reader(base, [base.get("architecture", DEFAULT_ARCHITECTURE)])
    for pointer, parameter in parameters.get("architecture", ()):
        assert isinstance(parameter, Choices)
        values = Listed(parameter.choices)
        if reader.accepts("architecture", pointer, values, reader.hosts):
            reader.dimensions.append(
                Dimension("architecture", "architecture", pointer, None, values)
            )
            reader.hosts = parameter.choices
    if not reader.faults:  # the fields of wrong architectures are anyone's guess
        for name, variants in parameters.items():
            if name != "architecture":
                reader.read(name, variants)
    if reader.faults:
        raise SpecError(reader.faults)
    return reader.dimensions


class _Reader:
    """hosts : the architectures that are searched"""

    def __init__(self, base: Document, hosts: list[Document]) -> None:
        self.base = base
        self.hosts = hosts
        self.dimensions: list[Dimension] = []
        self.faults: list[SpecFault] = []

    def read(self, name: str, variants: list[tuple[str, Range | Choices]]) -> None:
        searched = [*dict.fromkeys(host["type"] for host in self.hosts)]
        able = types_with(name)
        applicable = [own for own in searched if able is None or own in able]
        taken: set[str] = set()
        for place, (pointer, parameter) in enumerate(variants):
            types = parameter.architectures or applicable
            strange = [own for own in types if own not in applicable]
            if not applicable:
                known = ", ".join(f"'{own}'" for own in searched)
                self._refuse(
                    pointer,
                    f"'{name}' does not apply to {known}, and no other architecture is searched",
                )
            elif strange:
                known = ", ".join(f"'{own}'" for own in applicable)
                self._refuse(
                    f"{pointer}/architectures",
                    f"must be among those searched to which '{name}' applies, {known}, "
                    f"got '{strange[0]}'",
                )
            elif twice := taken & {*types}:
                self._refuse(
                    pointer,
                    f"'{min(twice)}' has two parameters here: give each its own 'architectures'",
                )
            else:
                taken |= {*types}
                hosts = [host for host in self.hosts if host["type"] in types]
                values = self._values(name, pointer, parameter, hosts[0])
                if values is not None and self.accepts(name, pointer, values, hosts):
                    key = name if len(variants) == 1 else f"{name}#{place}"
                    some = None if {*types} == {*searched} else frozenset(types)
                    self.dimensions.append(Dimension(name, key, pointer, some, values))

    def _values(
        self, name: str, pointer: str, parameter: Range | Choices, host: Document
    ) -> Values | None:
        if isinstance(parameter, Choices):
            return values_of(parameter, is_whole=False)
        is_whole = parameter.integer
        if is_whole is None:
            are_whole = isinstance(parameter.low, int) and isinstance(parameter.high, int)
            is_whole = are_whole and takes_whole_numbers_alone(
                self.base, name, parameter.low + 0.5, host
            )
        if fault := fault_in(parameter, is_whole=is_whole):
            self._refuse(f"{pointer}/{fault[0]}", fault[1])
            return None
        return values_of(parameter, is_whole=is_whole)

    def accepts(self, name: str, pointer: str, values: Values, hosts: list[Document]) -> bool:
        """Whether every trial can have the values, or reports the first that it cannot have.

        All values are tried with an architecture of each type, and one with each architecture: a
        thousand of each make thousands of specs, not a million.
        """
        is_own = name.startswith("architecture.")
        by_type = {host["type"]: host for host in reversed(hosts)}
        for place, value in values.tried():
            for host in by_type.values() if is_own else hosts[:1]:
                if fault := value_fault(self.base, name, value, host):
                    self._refuse(f"{pointer}/{place}{fault.pointer}", fault.detail)
                    return False
        _, value = next(values.tried())
        for host in hosts if is_own else ():
            if fault := value_fault(self.base, name, value, host):
                self._refuse(pointer, f"does not go with {json.dumps(host)}: {fault.detail}")
                return False
        return True

    def _refuse(self, pointer: str, detail: str) -> None:
        self.faults.append(SpecFault(pointer, detail))
