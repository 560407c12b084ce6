"""What npu-exporter would tell of the emulated chips, at /metrics, and the probes /healthz and /readyz.

Names and labels: MindCluster 26.1, 06_api/00_npu_exporter/01_prometheus_metrics_api.md and npu-exporter
collector/metrics. Only metrics that have a true value here are given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ascend_emulator.chips import Chip
from ascend_emulator.logs import get_log
from ascend_emulator.settings import Settings
from ascend_emulator.smi import used_memory_mb
from ascend_emulator.state import Holder, NodeState

UNREGISTERED_SECONDS = 180.0
"""Seconds without a registration after which /healthz fails; a restarting kubelet is back long before."""

_LABELS = ("id", "model_name", "vdie_id", "pcie_bus_info", "namespace", "pod_name", "container_name")
_NOBODY = Holder("", "", "")

log = get_log("metrics")


class ChipCollector(Collector):
    """Reads the state at each scrape."""

    def __init__(self, settings: Settings, state: NodeState) -> None:
        self.settings = settings
        self.state = state

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield every metric."""
        yield from self._machine()
        yield from self._chips()
        yield self._containers()
        yield self._processes()

    def _machine(self) -> Iterator[GaugeMetricFamily]:
        count = len(self.state.chips)
        healthy = sum(self.state.is_healthy(chip) for chip in self.state.chips)
        yield GaugeMetricFamily("machine_npu_nums", "NPU chips of the machine.", value=count)
        yield GaugeMetricFamily("machine_card_nums", "NPU cards of the machine.", value=count)
        yield GaugeMetricFamily("machine_healthy_npu_nums", "Healthy NPU chips of the machine.", value=healthy)
        yield GaugeMetricFamily("machine_unhealthy_npu_nums", "NPU chips with a fault.", value=count - healthy)

    def _chips(self) -> Iterator[GaugeMetricFamily]:
        settings, state, chips = self.settings, self.state, self.state.chips
        total = settings.hbm_gib * 1024
        yield self._gauge("npu_chip_info_health_status", "1 healthy, 0 not.", ((c, state.is_healthy(c)) for c in chips))
        yield self._gauge("npu_chip_info_temperature", "Degrees Celsius.", ((c, c.temperature_c) for c in chips))
        yield self._gauge("npu_chip_info_power", "Watts.", ((c, c.power_w) for c in chips))
        yield self._gauge(
            "npu_chip_info_hbm_used_memory", "HBM in use, MB.", ((c, used_memory_mb(settings, state, c)) for c in chips)
        )
        yield self._gauge("npu_chip_info_hbm_total_memory", "HBM, MB.", ((c, total) for c in chips))
        yield self._gauge(
            "npu_chip_info_process_info_num", "Processes.", ((c, len(state.processes.get(c.number, ()))) for c in chips)
        )
        faulty = [(chip, state.faults[chip.number]) for chip in chips if chip.number in state.faults]
        yield self._gauge("npu_chip_info_error_code", "Code of a fault.", ((c, int(f.code, 16)) for c, f in faulty))

    def _gauge(self, name: str, help_: str, values: Iterable[tuple[Chip, float]]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, help_, labels=_LABELS)
        for chip, value in values:
            family.add_metric(self._chip_labels(chip), float(value))
        return family

    def _containers(self) -> GaugeMetricFamily:
        labels = ("npuID", *_LABELS[1:], "containerID", "containerName")
        family = GaugeMetricFamily("npu_container_info", "Which container holds which chip.", labels=labels)
        for chip in self.state.chips:
            if holder := self.state.holders.get(chip.number):
                whole = f"{holder.namespace}_{holder.pod}_{holder.container}"
                family.add_metric([*self._chip_labels(chip), holder.container_id, whole], 1.0)
        return family

    def _processes(self) -> GaugeMetricFamily:
        labels = (*_LABELS, "process_id", "container_id")
        family = GaugeMetricFamily("npu_chip_info_process_info", "Memory of a process, MB.", labels=labels)
        for chip in self.state.chips:
            holder = self.state.holders.get(chip.number, _NOBODY)
            for process in self.state.processes.get(chip.number, ()):
                more = [str(process.pid), holder.container_id]
                family.add_metric([*self._chip_labels(chip), *more], float(process.memory_mb))
        return family

    def _chip_labels(self, chip: Chip) -> list[str]:
        holder = self.state.holders.get(chip.number, _NOBODY)
        model = f"{self.settings.chip_name}-Ascend-V1"
        return [str(chip.number), model, chip.die, chip.bus, holder.namespace, holder.pod, holder.container]


class Endpoints:
    """The HTTP server of one node."""

    def __init__(self, settings: Settings, state: NodeState) -> None:
        self.settings = settings
        self.state = state
        self.port = settings.metrics_port
        self.listening = asyncio.Event()
        self._registry = CollectorRegistry()
        self._registry.register(ChipCollector(settings, state))
        self._well = time.monotonic()

    async def run(self) -> None:
        """Serve until cancelled; port 0 takes a free one (attribute port: that of IPv4)."""
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, port=self.settings.metrics_port)
        try:
            await site.start()
            self.port = min(runner.addresses, key=len)[1]
            self.listening.set()
            log.info("serving", port=self.port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        """Return the three routes."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _healthz(self, _: web.Request) -> web.Response:
        """Answer 503 when the kubelet has been without us for long."""
        if self.state.registered:
            self._well = time.monotonic()
        seconds = time.monotonic() - self._well
        if seconds > UNREGISTERED_SECONDS:
            return web.Response(status=503, text=f"not registered with the kubelet for {seconds:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        """Answer 503 until the kubelet knows the devices and the Node was read."""
        missing = [
            text
            for is_there, text in (
                (self.state.registered, "not registered with the kubelet"),
                (self.state.node_read.is_set(), "the Node was not read yet"),
            )
            if not is_there
        ]
        return web.Response(status=503 if missing else 200, text=f"{'; '.join(missing) or 'ok'}\n")
