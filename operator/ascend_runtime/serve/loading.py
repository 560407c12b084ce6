"""A model folder -> a core that answers: checks, conversion, memory, the engine's start."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ascend_runtime.modelfolder import check_model, weight_files
from ascend_runtime.report import emit
from ascend_runtime.serve.convert import adapter as lora
from ascend_runtime.serve.convert.architecture import Architecture, read_architecture
from ascend_runtime.serve.convert.cache import cache_folder, cached, content_digest
from ascend_runtime.serve.convert.model import write_model
from ascend_runtime.serve.core import Core, Recorder
from ascend_runtime.serve.engine import Engine, EngineSettings
from ascend_runtime.serve.failures import config_invalid
from ascend_runtime.serve.prompts import Prompts
from ascend_runtime.serve.resources import Fit, fit, memory_limit, thread_count
from ascend_runtime.serve.sampling import default_sampling
from ascend_runtime.serve.settings import Adapter, ModelSettings

_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@contextlib.asynccontextmanager
async def loaded(settings: ModelSettings, recorder: Recorder) -> AsyncIterator[Core]:
    """Load a model and yield what answers for it; raises CannotServe or InvalidInput with what is wrong."""
    engine_settings, prompts = await asyncio.to_thread(_prepare, settings)
    started = time.monotonic()
    async with Engine(engine_settings) as engine:
        emit("loaded", sequences=engine_settings.sequences, length=engine_settings.length,
             threads=engine_settings.threads, seconds=round(time.monotonic() - started, 1))  # fmt: skip
        yield Core(
            settings=settings,
            engine=engine,
            prompts=prompts,
            length=engine_settings.length,
            defaults=default_sampling(settings.folder, own=settings.own_sampling),
            recorder=recorder,
        )


def _prepare(settings: ModelSettings) -> tuple[EngineSettings, Prompts]:
    """Check and convert all that can be wrong before a process is started."""
    architecture = read_architecture(check_model(settings.folder))
    length = _length(settings, architecture)
    prompts = Prompts(settings.folder, settings.chat_template)
    model = _model_file(settings, architecture)
    adapters = tuple(_adapter_file(settings, architecture, adapter) for adapter in settings.adapters)
    room = _fit(settings, architecture, length, sum(path.stat().st_size for path in (model, *adapters)))
    return EngineSettings(model, adapters, room.sequences, room.length, thread_count(settings.threads)), prompts


def _length(settings: ModelSettings, architecture: Architecture) -> int:
    wanted = settings.max_length or architecture.context
    if wanted > architecture.context:
        sentence = (
            f"{wanted} tokens are more than the model was made for (max_position_embeddings={architecture.context}); "
            "lower it"
        )
        raise config_invalid(settings.length_field, sentence)
    return wanted


def _fit(settings: ModelSettings, architecture: Architecture, length: int, weights: int) -> Fit:
    room = fit(architecture, weights, length, settings.max_requests, memory_limit())
    if room.sequences < settings.max_requests:
        message = f"the memory limit allows {room.sequences} sequences of {length} tokens, not {settings.max_requests}"
        emit("warning", message=f"{message}; the others wait")
    return room


def _model_file(settings: ModelSettings, architecture: Architecture) -> Path:
    weights = [path.name for path in weight_files(settings.folder)]
    digest = content_digest(settings.folder, (*_FILES, *weights), settings.precision)

    def write(target: Path) -> None:
        write_model(settings.folder, architecture, settings.precision, target)

    return _converted(settings, digest, write, what=str(settings.folder))


def _adapter_file(settings: ModelSettings, architecture: Architecture, adapter: Adapter) -> Path:
    config = lora.read_adapter(adapter.name, adapter.folder, settings.max_rank)
    shapes = content_digest(settings.folder, ("config.json",))
    digest = content_digest(adapter.folder, (lora.CONFIG, lora.WEIGHTS), shapes)

    def write(target: Path) -> None:
        lora.write_adapter(adapter.name, adapter.folder, config, (settings.folder, architecture), target)

    return _converted(settings, digest, write, what=str(adapter.folder))


def _converted(settings: ModelSettings, digest: str, write: Callable[[Path], None], *, what: str) -> Path:
    started = time.monotonic()
    path = cached(cache_folder(settings.cache_dir), digest, write)
    emit("converted", path=what, sizeBytes=path.stat().st_size, seconds=round(time.monotonic() - started, 1))
    return path
