"""Emulated Ascend NPUs for the node this runs on: `python -m ascend_emulator`.

It emulates the hardware and its plugin, nothing else: devices in the kubelet, what the plugin writes on pods, nodes and
in ConfigMaps, npu-smi in containers, npu-exporter's metrics, faults on command.

What it needs of Kubernetes (a DaemonSet, one pod a node):

    spec:
      hostPID: true                      # to see which processes use which chip
      priorityClassName: system-node-critical
      tolerations: [{operator: Exists}]
      serviceAccountName: ascend-emulator
      containers:
      - command: [python3, -m, ascend_emulator]
        securityContext: {privileged: true, runAsUser: 0}
        env:
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: NODE_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        ports: [{name: metrics, containerPort: 8082}]
        livenessProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 20}
        readinessProbe: {httpGet: {path: /readyz, port: metrics}}
        resources: {requests: {cpu: 20m, memory: 80Mi}, limits: {memory: 200Mi}}
        volumeMounts:                    # folders, never single sockets: kubelets make those anew
        - {name: device-plugins, mountPath: /var/lib/kubelet/device-plugins}
        - {name: pod-resources, mountPath: /var/lib/kubelet/pod-resources, readOnly: true}
        - {name: data, mountPath: /var/lib/ascend-emulator}
      volumes:
      - {name: device-plugins, hostPath: {path: /var/lib/kubelet/device-plugins, type: Directory}}
      - {name: pod-resources, hostPath: {path: /var/lib/kubelet/pod-resources, type: Directory}}
      - {name: data, hostPath: {path: /var/lib/ascend-emulator, type: DirectoryOrCreate}}

ClusterRole: nodes get, list, watch, patch; pods get, list, watch, patch. Role in kube-system: configmaps create, get,
patch. Role in default: events create.
The label ascendjobs.io/emulated is set on the node when it is not there; a nodeSelector may use it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from ascend_emulator.kube import Kube
from ascend_emulator.logs import get_log, set_up_logs
from ascend_emulator.run import run
from ascend_emulator.settings import SettingsError, describe_settings, read_settings


def main() -> int:
    """Read settings, set up logs, run; 0 after SIGTERM, 1 after an error, 2 for wrong settings."""
    argparse.ArgumentParser(
        prog="python -m ascend_emulator",
        description="Emulate the Ascend NPUs of the node this runs on. Settings come from the environment:",
        epilog=describe_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        settings = read_settings()
        kube = Kube.in_cluster()
    except SettingsError as error:
        print(f"ascend_emulator: {error}", file=sys.stderr)  # noqa: T201 - before there are logs
        return 2
    except KeyError as error:
        print(f"ascend_emulator: {error.args[0]} is not set: no pod of a cluster", file=sys.stderr)  # noqa: T201
        return 2
    set_up_logs(node=settings.node_name)
    try:
        asyncio.run(run(settings, kube))
    except Exception:  # noqa: BLE001 - the end of the process, told as one line
        get_log("main").exception("ended by an error")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
