"""The monitor's numbers as Prometheus text (format 0.0.4)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

__all__ = ["metrics"]

Sample = tuple[dict[str, str], float]


def metrics(parts: Any) -> str:
    """Every number of a running monitor; the samples of one name stay together, as the format demands."""
    followed = list(parts.watch.followed.values())
    now = time.monotonic()

    def of_chains(value: Any) -> list[Sample]:
        return [({"chain": item.chain}, found) for item in followed if (found := value(item)) is not None]

    groups: list[tuple[str, str, Iterable[Sample]]] = [
        ("heistwatch_block_number", "The last block that was scanned.",
         of_chains(lambda item: item.follower.tip.number if item.follower.tip else 0)),
        ("heistwatch_head_lag_blocks", "Blocks from there to the head.", of_chains(lambda item: item.follower.lag)),
        ("heistwatch_head_age_seconds", "Since a head arrived that was new.",
         of_chains(lambda item: now - (item.follower.head_seen_at or parts.started_monotonic))),
        ("heistwatch_block_timestamp_seconds", "Time of the last block that was scanned since the start.",
         of_chains(lambda item: item.block_time)),
        ("heistwatch_blocks_total", "Blocks scanned since the start.", of_chains(lambda item: item.blocks)),
        ("heistwatch_undecoded_transactions_total", "Transactions that could not be understood.",
         of_chains(lambda item: item.undecoded)),
        ("heistwatch_mempool_waiting", "Transactions that wait to be mined and touch the watch set.",
         of_chains(lambda item: len(parts.pipeline.foresight.pool(item.chain)) if item.mempool else None)),
        ("heistwatch_mempool_dropped_total", "Waiting transactions that were not looked at, since too many came.",
         of_chains(lambda item: item.mempool.dropped if item.mempool else None)),
        *_endpoints(followed),
        ("heistwatch_troubles", "What people were told is wrong with the monitor, and is not over.",
         [({"trouble": key}, 1) for key in parts.beside.blind.told]),
        ("heistwatch_heartbeats_total", "Pings to dead-man's switches since the start.",
         [({"host": heart.host, "outcome": outcome}, count) for heart in parts.beside.heartbeats
          for outcome, count in (("accepted", heart.sent), ("failed", heart.failed))]),
        ("heistwatch_incidents", "Stored incidents by status.", _incidents(parts)),
        ("heistwatch_deliveries_total", "Attempts to deliver a message since the start.",
         [({"channel": channel, "outcome": outcome}, count)
          for (channel, outcome), count in sorted(parts.delivered.items())]),
    ]  # fmt: skip
    lines: list[str] = []
    for name, help_, samples in groups:
        lines.append(f"# HELP {name} {help_}")
        lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
        lines += [f"{name}{{{_labels(labels)}}} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _endpoints(followed: list[Any]) -> list[tuple[str, str, Iterable[Sample]]]:
    """Numbers of the endpoints, of chain families that keep them; names are hosts and ports."""
    states = [
        ({"chain": item.chain, "endpoint": state.name}, state)
        for item in followed
        for state in (item.source.endpoints() if hasattr(item.source, "endpoints") else ())
    ]
    return [
        ("heistwatch_endpoint_requests_total", "Attempts at an endpoint since the start.",
         [(labels, state.requests) for labels, state in states]),
        ("heistwatch_endpoint_failures_total", "Attempts that failed, by reason.",
         [({**labels, "reason": why}, count) for labels, state in states for why, count in state.failures.items()]),
        ("heistwatch_endpoint_answer_seconds_total", "Time that its answers took together.",
         [(labels, state.seconds) for labels, state in states]),
        ("heistwatch_endpoint_in_use", "1 where it answered last.",
         [(labels, int(state.in_use)) for labels, state in states]),
        ("heistwatch_endpoint_circuit", "1 at the state of its circuit.",
         [({**labels, "state": circuit}, int(state.circuit == circuit)) for labels, state in states
          for circuit in ("closed", "open", "half-open", "quarantined")]),
        ("heistwatch_endpoint_lagging", "1 where it lags behind others.",
         [(labels, int(state.lagging)) for labels, state in states]),
        ("heistwatch_endpoint_block_number", "The newest block that it told of.",
         [(labels, state.head) for labels, state in states if state.head is not None]),
    ]  # fmt: skip


def _incidents(parts: Any) -> list[Sample]:
    counts: dict[str, int] = {}
    for incident in parts.pipeline.correlator.all():
        counts[str(incident.status)] = counts.get(str(incident.status), 0) + 1
    return [({"status": status}, count) for status, count in sorted(counts.items())]


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(round(value, 3)) if isinstance(value, float) else str(value)
