"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by those of its labels that have any, in the order of their
    names."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                key = tuple(value for _, value in sorted(sample.labels.items()) if value)
                assert key not in found, f"{name} {key} is there twice"
                found[key] = sample.value
    return found


def counted(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Those that are not 0."""
    return {key: value for key, value in samples(text, name).items() if value}
