"""What a server is started with, whichever engine's arguments or files it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter and the model name that selects it."""

    name: str
    folder: Path


@dataclass(frozen=True)
class ModelSettings:
    """Which model is served and how."""

    folder: Path
    names: tuple[str, ...]
    """Names under which requests may ask for it, at least one; answers carry the first."""
    adapters: tuple[Adapter, ...] = ()
    precision: str = "auto"
    """Of the weights: one of convert.model.PRECISIONS."""
    max_length: int | None = None
    """Longest prompt and answer together in tokens; None: the model's own."""
    length_field: str = "max-model-len"
    """What the engine calls max_length, for complaints."""
    max_requests: int = 8
    """Requests computed at the same time; others wait. Fewer when memory does not suffice."""
    max_output: int | None = None
    """Longest answer in tokens whatever a request asks for (MindIE's maxIterTimes); None: none."""
    max_input: int | None = None
    """Longest prompt in tokens (MindIE's maxInputTokenLen); None: max_length - 1."""
    max_rank: int = 16
    """Highest rank of an adapter (vLLM's default)."""
    prefix_caching: bool = True
    seed: int | None = None
    """Of the first request that names none, the next one has the number after it; None: a new one each time."""
    own_sampling: bool = True
    """Whether generation_config.json's sampling values hold for requests that say nothing."""
    chat_template: Path | None = None
    cache_dir: Path | None = None
    threads: int | None = None
    """Of the computation; None: from the CPU limit."""


@dataclass(frozen=True)
class Listen:
    """Where a server is reached."""

    host: str
    port: int
    certificate: Path | None = None
    """With a key: TLS."""
    key: Path | None = None

    @property
    def url(self) -> str:
        """Return the address for log lines."""
        scheme = "https" if self.certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
