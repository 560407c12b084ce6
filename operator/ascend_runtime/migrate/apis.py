"""Rules on uses of names: unsupported and unknown APIs, chip and dtype limits, precision and performance, affinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ascend_runtime.migrate.findings import Finding, make_finding, note
from ascend_runtime.migrate.native import CustomOp
from ascend_runtime.migrate.project import EXTENSION, Project, api_name
from ascend_runtime.migrate.tables import ApiTable, Support, affinities, is_plain
from ascend_runtime.migrate.uses import FileScan, Use, UseKind

Row = tuple[str, int | str, int | str, str, str]
"""File, Start Line, End Line, OP, Tips."""

USER_OP = "User-defined CUDA Operator."
_COMMON = frozenset({"forward", "backward"})
_PRECISION = {
    "torch.baddbmm": "With beta 0 the input still counts on NPUs: NaN and inf in it spread; compare results.",
    "torch.reshape": "Reshaping a tensor in a private format may change its values; compare results.",
    "torch.nn.Embedding": "Indices out of range raise no error on NPUs; check the vocabulary.",
    "torch.nn.functional.embedding": "Indices out of range raise no error on NPUs; check the vocabulary.",
    "torch.matmul": "Computes in HF32 where allowed; set torch.npu.matmul.allow_hf32 = False to compare.",
    "torch.Tensor.matmul": "Computes in HF32 where allowed; set torch.npu.matmul.allow_hf32 = False to compare.",
}
_FUSED = {
    f"torch.optim.{name}": f"torch_npu.optim.NpuFused{name} updates all parameters in few kernels."
    for name in ("AdamW", "Adadelta", "Adam", "RMSprop", "SGD", "Lamb", "BertAdam", "AdamP", "RMSpropTF")
}
_PERFORMANCE = {
    **_FUSED,
    "torch.nn.Linear": "torch_npu.npu_linear is the fused form.",
    "torch.autograd.set_detect_anomaly": "For debugging only; remove it from training.",
    "torch.autograd.detect_anomaly": "For debugging only; remove it from training.",
    "torch.autograd.gradcheck": "For debugging only; remove it from training.",
}
CONFIGURATION: tuple[Row, ...] = (
    ("NA", "NA", "NA", "torch_npu.npu.set_compile_mode", "jit_compile=False for changing shapes, True for fixed ones."),
    ("NA", "NA", "NA", "TASK_QUEUE_ENABLE", "export TASK_QUEUE_ENABLE=1 overlaps dispatch with the work of the chip."),
    ("NA", "NA", "NA", "HCCL_OP_BASE_FFTS_MODE_ENABLE", "export HCCL_OP_BASE_FFTS_MODE_ENABLE=TRUE for collectives."),
)
_AFFINE_TORCH = {
    "torch.matmul": "torch_npu.contrib.function.matmul_transpose",
    "torch.roll": "torch_npu.contrib.function.roll",
    "torch.nn.SiLU": "torch_npu.contrib.module.SiLU",
}
_AFFINE_FUNCTIONS = {
    ("single_level_responsible_flags", "featmap_size gt_bboxes stride num_base_anchors"): (
        "torch_npu.contrib.function.npu_single_level_responsible_flags"
    ),
    ("encode", "bboxes gt_bboxes stride"): "torch_npu.contrib.function.npu_bbox_coder_encode_yolo",
    ("decode", "bboxes pred_bboxes stride"): "torch_npu.contrib.function.npu_bbox_coder_decode_xywh2xyxy",
    ("multiclass_nms", "multi_bboxes multi_scores score_thr nms_cfg max_num score_factors"): (
        "torch_npu.contrib.function.npu_multiclass_nms"
    ),
    ("fast_nms", "multi_bboxes multi_scores multi_coeffs score_thr iou_thr top_k max_num"): (
        "torch_npu.contrib.function.npu_multiclass_nms"
    ),
    ("channel_shuffle", "x groups"): "torch_npu.contrib.module.ChannelShuffle",
}
_AFFINE_CLASSES = {
    ("FairseqDropout", "p module_name", "x inplace"): "torch_npu.contrib.module.NpuFairseqDropout",
    ("Mish", "", "x"): "torch_npu.contrib.module.Mish",
    ("DropPath", "drop_prob", "x"): "torch_npu.contrib.module.NpuDropPath",
    ("Focus", "c1 c2 k s p g act", "x"): "torch_npu.contrib.module.Focus",
    ("PSROIPool", "pooled_height pooled_width spatial_scale group_size output_dim", "features rois"): (
        "torch_npu.contrib.module.PSROIPool"
    ),
    ("ROIAlign", "output_size spatial_scale sampling_ratio aligned", "input rois"): "torch_npu.contrib.module.ROIAlign",
    (
        "MultiheadAttention",
        "embed_dim num_heads kdim vdim dropout bias add_bias_kv add_zero_attn self_attention "
        "encoder_decoder_attention q_noise qn_block_size",
        "query key value key_padding_mask incremental_state need_weights static_kv attn_mask before_softmax "
        "need_head_weights",
    ): "torch_npu.contrib.module.MultiheadAttention",
}


@dataclass(slots=True)
class ApiRows:
    """Rows of the tables and findings; `hits` is the use of a file with its API, for the third-party analysis."""

    unsupported: list[Row] = field(default_factory=list)
    unknown: list[Row] = field(default_factory=list)
    precision: list[Row] = field(default_factory=list)
    performance: list[Row] = field(default_factory=list)
    affinity: list[tuple[str, int, int, str, str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    hits: list[tuple[FileScan, Use, str, str]] = field(default_factory=list)


def judge_uses(
    files: Iterable[tuple[str, FileScan]],
    project: Project,
    table: ApiTable,
    ops: Mapping[str, list[CustomOp]],
    chip: str,
) -> ApiRows:
    """Judge every use in every file (its name beside its scan); `chip` is one of tables.CHIPS or empty for all."""
    rows = ApiRows(performance=list(CONFIGURATION))
    judge = _Judge(project, table, ops, chip, rows)
    for file, scan in files:
        judge.file(file, scan)
    judge.finish()
    return rows


class _Judge:
    def __init__(
        self, project: Project, table: ApiTable, ops: Mapping[str, list[CustomOp]], chip: str, rows: ApiRows
    ) -> None:
        self._project, self._table, self._ops, self._chip, self._rows = project, table, ops, chip, rows
        self._names: dict[str, str] = {}
        self._has_ddp = self._has_no_sync = False

    def file(self, file: str, scan: FileScan) -> None:
        for use in scan.uses:
            resolved = self._names.get(use.path)
            if resolved is None:
                resolved = self._names[use.path] = self._project.resolve(use.path)
            if use.kind is UseKind.REFERENCE:
                if resolved.startswith("torch."):
                    self._reference(file, use, api_name(resolved))
                continue
            self._called(file, scan, use, resolved)
        self._masks(file, scan)

    def finish(self) -> None:
        if self._has_ddp and not self._has_no_sync:
            tip = "With gradient accumulation, no_sync spares the all-reduce of all steps but the last."
            self._rows.performance.append(("NA", "NA", "NA", "no_sync", tip))

    # What is called, inherited from, or decorates

    def _called(self, file: str, scan: FileScan, use: Use, resolved: str) -> None:
        if use.kind is UseKind.CALL and use.name == "to":
            self._non_blocking(file, use)
        if self._ops and use.kind is UseKind.CALL and self._custom_op(file, scan, use, resolved):
            return
        self._has_no_sync |= use.name == "no_sync"
        if resolved.startswith("torch.") and not resolved.endswith("()"):
            api = api_name(resolved)
            self._api(file, scan, use, api, is_method="()." in resolved)
            self._advice(file, use, api)
        if use.kind is UseKind.CALL:
            self._affinity(file, use, resolved)

    def _custom_op(self, file: str, scan: FileScan, use: Use, resolved: str) -> bool:
        """Note a call that ends in the name of an operator of the project's CUDA sources and fits its arguments."""
        if not self._may_be_custom(use.name, resolved):
            return False
        for op in self._ops.get(use.name, ()):
            if op.takes(len(use.positional)):
                name = api_name(resolved).removeprefix("?.")
                self._rows.unsupported.append((file, use.line, use.last_line, name, USER_OP))
                self._rows.hits.append((scan, use, name, "custom"))
                lines = (use.line, use.last_line)
                self._rows.findings.append(make_finding("custom-op", file, lines, name, USER_OP, "cuda-op"))
                return True
        return False

    def _may_be_custom(self, name: str, resolved: str) -> bool:
        """Tell whether a name can be an operator; forward is one only on what is no object of torch or the project."""
        if "." not in resolved or resolved.startswith("torch.nn.") or resolved in self._project.functions:
            return False
        if name not in _COMMON or resolved.startswith(EXTENSION):
            return True
        foreign = resolved.partition(".")[0] not in ("?", "torch", *self._project.roots)
        return foreign and "()" not in resolved

    def _api(self, file: str, scan: FileScan, use: Use, api: str, *, is_method: bool) -> None:
        verdict = self._table.verdict(api)
        lines = (use.line, use.last_line)
        if verdict.support is Support.NO:
            tips = "NA" if is_method else "-"
            self._rows.unsupported.append((file, *lines, api, tips))
            self._rows.hits.append((scan, use, api, "unsupported"))
            message = f"{verdict.api} is not supported by torch_npu for this PyTorch version."
            self._rows.findings.append(make_finding("unsupported-api", file, lines, api, message))
        elif verdict.support is Support.YES:
            self._limits(file, lines, api, verdict.note, verdict.not_on)
        elif not is_method and not is_plain(api) and ".__" not in api:
            self._rows.unknown.append((file, *lines, api, "-"))
            self._rows.hits.append((scan, use, api, "unknown"))
            message = f"{api} is in no table of this PyTorch version: not verified on Ascend."
            self._rows.findings.append(note("unknown-api", file, lines, api, message))

    def _limits(self, file: str, lines: tuple[int, int], api: str, text: str, not_on: tuple[str, ...]) -> None:
        if not_on and (not self._chip or self._chip in not_on):
            message = f"{api} is not supported on {', '.join(not_on)}."
            self._rows.findings.append(make_finding("chip-unsupported", file, lines, api, message))
        elif text and not text.startswith("use:"):
            self._rows.findings.append(note("api-limit", file, lines, api, f"{api}: {text}."))

    def _reference(self, file: str, use: Use, api: str) -> None:
        if self._table.verdict(api).support is Support.NO:
            message = f"{api} is referred to here and is not supported; a call through this name fails."
            lines = (use.line, use.end_line)
            found = make_finding("unsupported-reference", file, lines, api, message)
            self._rows.findings.append(replace(found, severity="minor", minutes=min(found.minutes, 5)))

    # Advice

    def _advice(self, file: str, use: Use, api: str) -> None:
        lines = (use.line, use.last_line)
        listed = self._table.verdict(api).api
        for target, tips, rule in (
            (self._rows.precision, _PRECISION, "precision"),
            (self._rows.performance, _PERFORMANCE, "performance"),
        ):
            tip = tips.get(api) or tips.get(listed)
            if tip:
                target.append((file, *lines, api, tip))
                self._rows.findings.append(note(rule, file, lines, api, tip))
        replaced = affinities().get(listed)
        if replaced and listed not in _AFFINE_TORCH:
            message = f"{replaced['api']} may take its place on NPUs. {replaced['note']}".rstrip()
            self._rows.findings.append(note("affinity", file, lines, api, message))
        if use.kind is UseKind.CALL:
            self._parameters(file, use, api, listed)

    def _parameters(self, file: str, use: Use, api: str, listed: str) -> None:
        if listed == "torch.utils.data.DataLoader":
            if argument(use, 7, "pin_memory") != "True":
                self._perform(file, use, api, "pin_memory=True speeds up copies to the chip.")
            if argument(use, 5, "num_workers") in ("", "0"):
                self._perform(file, use, api, "num_workers above 0 loads data beside training.")
        elif listed == "torch.nn.parallel.DistributedDataParallel":
            self._has_ddp = True
            if argument(use, 6, "bucket_cap_mb") != "500":
                self._perform(file, use, api, "bucket_cap_mb=500 sends fewer, larger buckets over HCCL.")

    def _non_blocking(self, file: str, use: Use) -> None:
        given = argument(use, 1, "non_blocking"), argument(use, 2, "non_blocking")
        if "True" not in given and _moves_device(use):
            name = api_name(self._names[use.path]).removeprefix("?.")
            self._perform(file, use, name, "non_blocking=True lets the copy overlap with the program.")

    def _perform(self, file: str, use: Use, api: str, tip: str) -> None:
        self._rows.performance.append((file, use.line, use.last_line, api, tip))
        self._rows.findings.append(note("performance", file, (use.line, use.last_line), api, tip))

    # Affinity

    def _affinity(self, file: str, use: Use, resolved: str) -> None:
        found = self._affine(use, resolved)
        if found:
            kind, form = found
            self._rows.affinity.append((file, use.line, use.last_line, kind, use.name, form))
            message = f"{form} is made for NPUs and does the same."
            self._rows.findings.append(note("affinity", file, (use.line, use.last_line), use.name, message))

    def _affine(self, use: Use, resolved: str) -> tuple[str, str] | None:
        form = _AFFINE_TORCH.get(api_name(resolved))
        if form:
            return "torch", form
        function = self._project.functions.get(resolved)
        if function:
            form = _AFFINE_FUNCTIONS.get((use.name, _joined(function.parameters)))
            return ("function", form) if form else None
        if resolved in self._project.classes:
            methods = self._project.classes[resolved][0].methods
            key = (use.name, _joined(methods.get("__init__", ())), _joined(methods.get("forward", ())))
            form = _AFFINE_CLASSES.get(key)
            return ("class", form) if form else None
        return None

    def _masks(self, file: str, scan: FileScan) -> None:
        form = "torch_npu.contrib.function.npu_fast_condition_index_put"
        for lines in scan.masks:
            self._rows.affinity.append((file, *lines, "special", "index_put", form))
            message = "A write through a boolean mask has a changing shape; torch.where keeps it fixed."
            self._rows.findings.append(note("affinity", file, lines, "index_put", message))


def argument(use: Use, position: int, keyword: str) -> str:
    """Return an argument's literal as Python writes it, `?` for another expression, empty if it is not given."""
    if use.keywords and keyword in use.keywords:
        return use.keywords[keyword]
    if len(use.positional) > position and "*" not in use.positional[: position + 1]:
        return use.positional[position]
    return "?" if "*" in use.positional or (use.keywords and "**" in use.keywords) else ""


def _moves_device(use: Use) -> bool:
    return bool(use.positional) or bool(use.keywords)


def _joined(parameters: tuple[str, ...]) -> str:
    return " ".join(name for name in parameters if name != "self")
