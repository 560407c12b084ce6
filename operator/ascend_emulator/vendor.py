"""Names of the Ascend ecosystem that only a device plugin writes; those that others read too are in ascend_jobs.names.

Sources: MindCluster 26.1 docs, 06_api/02_ascend_device_plugin.md, 06_api/12_k8s.md; Huawei Cloud CCE.
"""

from __future__ import annotations

SERVER_TYPE_LABEL = "servertype"
HOST_ARCH_LABEL = "host-arch"
DRIVER_VERSION_LABEL = "huawei.com/driver.version"
CHIP_MEMORY_LABEL = "mind-cluster/npu-chip-memory"
CCE_ACCELERATOR_LABEL = "accelerator/huawei-npu"
CCE_CHIP_NAME = "Ascend910"
"""Value of the chip name label on CCE nodes with ascend-1980 (vllm-ascend, using_volcano_kthena)."""

DEVICE_INFO_NAMESPACE = "kube-system"
DEVICE_INFO_PREFIX = "mindx-dl-deviceinfo-"
DEVICE_INFO_KEY = "DeviceInfoCfg"
MANUALLY_SEPARATE_KEY = "ManuallySeparateNPU"
UPGRADE_REASON_KEY = "UpgradeFaultReason"
CONSUMER_LABEL = "mx-consumer-cim"

NOT_SUPPORTED = -2
"""super_pod_id, rack_id and server_index of a machine outside a super pod (constants.go, *IdAbnormal)."""
