"""The phase `prepare`: check model, output and every row, then tokenise; takes no NPU.

All rows are read twice: once to check them, before anything is written, and once to tokenise. So bad input costs a
fraction of the time and leaves nothing behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ascend_runtime.config import Config, Source
from ascend_runtime.data import store
from ascend_runtime.data.encode import Encoder, Sample
from ascend_runtime.data.formats import FORMATS, BadRow, Document
from ascend_runtime.data.indexed import IndexedWriter
from ascend_runtime.data.rows import SUFFIXES, BadFile, Row, find_files, read_rows
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import read_manifest, sweep_aside
from ascend_runtime.modelfolder import check_model, missing_modules
from ascend_runtime.output import artifacts, finished_output
from ascend_runtime.report import Throttle, emit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BATCH = 1000
"""Documents given to the tokenizer at once: enough for its threads, some MB of memory."""
SHOWN = 5
"""Bad rows named in the message; all are counted."""


def prepare(config: Config) -> dict[str, Any]:
    """Bring the tokenised data into the workspace and return the termination message.

    Raises InvalidInput for a model, a data set or an output that only the user can mend.
    """
    done = finished_output(config)
    if done is not None:
        return {**_no_data(), "alreadyComplete": True, "artifacts": artifacts(config, done)}
    model = check_model(config.model.path)
    _check_fits(config, model)
    documents = _check_rows(config)
    digest = store.data_digest(config)
    folder = store.data_folder(config, digest)
    manifest = read_manifest(folder)
    if manifest is None:
        sweep_aside(folder.parent)
        facts = _tokenise(config, digest, documents, int(model.get("vocab_size") or 0))
    else:
        facts = dict(manifest.facts)
        emit("prepare", documents=documents, totalDocuments=documents, reused=digest)
    store.name_current(config, digest)
    return {**facts, "alreadyComplete": False, "artifacts": []}


def validation_rows(documents: int, fraction: float, seed: int) -> frozenset[int]:
    """Return which documents are held back: the first of a seeded permutation, at least one, never all.

    numpy.random.RandomState is frozen by numpy's policy (NEP 19), so a seed means the same split for ever.
    """
    if fraction <= 0 or documents < 2:
        return frozenset()
    count = min(max(1, round(documents * fraction)), documents - 1)
    return frozenset(int(index) for index in np.random.RandomState(seed).permutation(documents)[:count])


def _check_fits(config: Config, model: Mapping[str, Any]) -> None:
    """Refuse what the model could not take: more positions than it has, LoRA targets that it has not."""
    limit = model.get("max_position_embeddings")
    if isinstance(limit, int) and config.max_length > limit:
        where = "spec.dataset.tokenize.maxLength"
        sentence = f"{where} is {config.max_length}, the model takes at most {limit} tokens"
        raise InvalidInput(Reason.CONFIG_INVALID, where, sentence)
    targets = config.lora.target_modules
    if config.method == "lora" and not isinstance(targets, str):
        unknown = missing_modules(config.model.path, targets)
        if unknown:
            where = "spec.training.lora.targetModules"
            sentence = f"the model has no module called {', '.join(unknown)}"
            raise InvalidInput(Reason.CONFIG_INVALID, where, sentence)


def _check_rows(config: Config) -> int:
    """Read every row of every source and return how many documents there are; raises InvalidInput."""
    documents = 0
    for index, source in enumerate(config.sources):
        where = _field(config, index)
        _check_source(source, where)
        bad, shown = 0, []
        for row in _rows(source, where):
            if isinstance(row.document, BadRow):
                bad += 1
                shown += [f"{row.file.name} row {row.number}: {row.document}"] if bad <= SHOWN else []
            else:
                documents += 1
        if bad:
            raise InvalidInput(Reason.DATASET_INVALID, where, _complaint(bad, shown))
    if not documents:
        raise InvalidInput(Reason.DATASET_INVALID, _field(config, 0), "the data set has no rows")
    return documents


def _check_source(source: Source, where: str) -> None:
    if source.format not in FORMATS:
        sentence = f"format {source.format} is none of {', '.join(FORMATS)}"
        raise InvalidInput(Reason.CONFIG_INVALID, where.replace("uri", "format"), sentence)
    if not find_files(source.place.path):
        what = f"no file that ends in {', '.join(SUFFIXES)}" if source.place.path.is_dir() else "nothing"
        raise InvalidInput(Reason.DATASET_NOT_FOUND, where, f"there is {what} at {source.place.uri}")


def _complaint(bad: int, shown: list[str]) -> str:
    """Say what is wrong with the rows; each line is cut so that all fit into the termination message."""
    listed = "; ".join(line[:600] for line in shown)
    if bad == 1:
        return f"{listed}; fix or remove the row"
    more = f"; and {bad - len(shown)} more" if bad > len(shown) else ""
    return f"{bad} bad rows: {listed}{more}; fix or remove the rows"


def _tokenise(config: Config, digest: str, documents: int, vocabulary: int) -> dict[str, Any]:
    """Write the data aside and rename it; return the facts of its manifest."""
    held_back = validation_rows(documents, config.validation_fraction, config.hyperparameters.seed)
    folder, throttle = store.data_folder(config, digest), Throttle()
    encoder = Encoder(_load_tokenizer(config), config.max_length)
    with store.new_data(folder) as aside:
        with store.open_writers(aside) as writers:
            sink = _Sink(writers, held_back, vocabulary)
            for batch in _batches(config):
                for (where, row, _), sample in zip(batch, encoder.encode([d for _, _, d in batch]), strict=True):
                    sink.take(where, row, sample)
                if throttle.is_due() or sink.seen == documents:
                    emit("prepare", documents=sink.seen, totalDocuments=documents, tokens=sink.tokens)
        _check_result(config, sink, documents)
        facts = {"documents": documents, **sink.facts(), "dataset": digest}
        store.publish_data(aside, folder, facts)
    return facts


@dataclass
class _Sink:
    """Sorts samples into the splits and counts what became of them."""

    writers: Mapping[str, tuple[IndexedWriter, IndexedWriter]]
    held_back: frozenset[int]
    vocabulary: int
    seen: int = 0
    kept: dict[str, int] = field(default_factory=lambda: {store.TRAIN: 0, store.VALIDATION: 0})
    truncated: int = 0
    dropped: int = 0
    tokens: int = 0

    def take(self, where: str, row: Row, sample: Sample | BadRow) -> None:
        """Write the next document's sample; one whose prompt leaves no room for an answer is dropped."""
        split = store.VALIDATION if self.seen in self.held_back else store.TRAIN
        self.seen += 1
        if isinstance(sample, BadRow):
            complaint = _complaint(1, [f"{row.file.name} row {row.number}: {sample}"])
            raise InvalidInput(Reason.DATASET_INVALID, where, complaint)
        if not sample.is_learnable:
            self.dropped += 1
            return
        _check_vocabulary(sample, self.vocabulary)
        self.truncated += sample.is_truncated
        self.tokens += len(sample.ids)
        self.kept[split] += 1
        for writer, tokens in zip(self.writers[split], (sample.ids, sample.labels), strict=True):
            writer.add(tokens)

    def facts(self) -> dict[str, int]:
        """Return the counts as the manifest and the termination message have them."""
        return {
            "trainDocuments": self.kept[store.TRAIN],
            "validationDocuments": self.kept[store.VALIDATION],
            "truncatedDocuments": self.truncated,
            "droppedDocuments": self.dropped,
            "tokens": self.tokens,
        }


def _rows(source: Source, where: str) -> Iterator[Row]:
    for file in find_files(source.place.path):
        try:
            yield from read_rows(file, source.format)
        except BadFile as error:
            raise InvalidInput(Reason.DATASET_INVALID, where, str(error)) from error


def _batches(config: Config) -> Iterator[list[tuple[str, Row, Document]]]:
    """Yield all documents in order with their row and the field of their source, BATCH at a time."""
    rows = (
        (_field(config, index), row, row.document)
        for index, source in enumerate(config.sources)
        for row in _rows(source, _field(config, index))
        if isinstance(row.document, Document)
    )
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _check_vocabulary(sample: Sample, vocabulary: int) -> None:
    if vocabulary and max(sample.ids) >= vocabulary:
        sentence = f"the tokenizer gives token {max(sample.ids)}, config.json has vocab_size {vocabulary}"
        raise InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", sentence)


def _check_result(config: Config, sink: _Sink, documents: int) -> None:
    """Raise when nothing is left to train on or the files changed in between; say what was cut."""
    if sink.seen != documents:
        raise RuntimeError(f"the data set changed while it was read: {documents} rows, then {sink.seen}")
    if not sink.kept[store.TRAIN]:
        where = "spec.dataset.tokenize.maxLength"
        sentence = f"with {where} {config.max_length} no training document has room for an answer; raise it"
        raise InvalidInput(Reason.DATASET_INVALID, where, sentence)
    if sink.truncated or sink.dropped:
        cut = f"{sink.truncated} documents cut to {config.max_length} tokens"
        emit("warning", message=f"{cut}, {sink.dropped} dropped since their prompt alone is longer")


def _no_data() -> dict[str, Any]:
    return {"documents": 0, "trainDocuments": 0, "validationDocuments": 0, "tokens": 0, "dataset": None}


def _field(config: Config, index: int) -> str:
    """Return the path of a source's URI as the user wrote it."""
    return "spec.dataset.uri" if len(config.sources) == 1 else f"spec.dataset.sources[{index}].uri"


def _load_tokenizer(config: Config) -> PreTrainedTokenizerFast:
    """Load the model's fast tokenizer; raises InvalidInput (ModelInvalid).

    From tokenizer.json it needs no torch, which saves seconds and works in NPU images on a pod without an NPU, where
    torch cannot be imported. Older formats are converted by the model's own class.
    """
    try:
        if (config.model.path / "tokenizer.json").is_file():
            from transformers import PreTrainedTokenizerFast

            tokenizer = PreTrainedTokenizerFast.from_pretrained(config.model.path)
        else:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(config.model.path)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", f"the tokenizer does not load: {error}") from error
    if not tokenizer.is_fast:
        sentence = "the tokenizer has no fast form; add tokenizer.json"
        raise InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", sentence)
    if not tokenizer.chat_template and any(source.format != "text" for source in config.sources):
        sentence = "the model has no chat template; add chat_template.jinja or use a data set of format text"
        raise InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", sentence)
    return tokenizer
