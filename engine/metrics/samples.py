"""Samples, and how they become what prometheus_client prints: one family for each metric of the catalogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from engine.metrics.catalogue import METRICS


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. `labels` are exactly those of the metric; a summary comes as two, NAME_sum and NAME_count."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def seconds(at: datetime | str) -> float:
    """Return an instant as Prometheus has it: seconds since 1970."""
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Yield every metric that has samples, in the order of the catalogue; of a repeated one, the last value."""
    found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for sample in samples:
        found[sample.name][tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    for metric in METRICS:
        labels, about = metric.labels, metric.meaning
        if metric.kind == "summary":
            summary = SummaryMetricFamily(metric.name, about, labels=labels)
            sums = found[f"{metric.name}_sum"]
            for values, count in sorted(found[f"{metric.name}_count"].items()):
                summary.add_metric(values, count_value=int(count), sum_value=sums[values])
            family: Metric = summary
        else:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, about, labels=labels)
            for values, value in sorted(found[metric.name].items()):
                family.add_metric(values, value)
        if family.samples:
            yield family
