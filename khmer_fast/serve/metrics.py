"""What `/metrics` tells, by prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)


class Metrics:
    """The counts of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pages = Counter(
            "khmer_fast_pages", "Pages that were read, or could not be", ["status"],
            registry=self.registry,
        )  # fmt: skip
        self.stages = Histogram(
            "khmer_fast_stage_seconds", "Seconds of a page or request by stage", ["stage"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.requests = Histogram(
            "khmer_fast_request_seconds", "Seconds of a request by route and status",
            ["method", "route", "status"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.errors = Counter(
            "khmer_fast_errors", "Errors that clients were told, by kind", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self.deaths = Counter(
            "khmer_fast_worker_deaths", "Worker processes that ended before their time",
            registry=self.registry,
        )  # fmt: skip

    def watch(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A gauge that is looked up when it is asked for."""
        Gauge(f"khmer_fast_{name}", help, registry=self.registry).set_function(value)

    def took(self, seconds: Mapping[str, float]) -> None:
        """Counts the seconds of stages."""
        for stage, value in seconds.items():
            self.stages.labels(stage).observe(value)

    def text(self) -> bytes:
        """All of them, in Prometheus's format."""
        return generate_latest(self.registry)
