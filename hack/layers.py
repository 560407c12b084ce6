"""Rewrite what `docker save` writes so that it holds only the layers a node lacks.

The result is an OCI image layout (opencontainers/image-spec, image-layout.md) in which layers may be missing;
containerd takes those from its own store, where an earlier image has put them. A changed wheel then costs its own
megabyte or two instead of the gigabyte below it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME = "io.containerd.image.name"


class Descriptor(TypedDict, total=False):
    """An OCI content descriptor."""

    mediaType: str
    digest: str
    size: int
    annotations: dict[str, str]


@dataclass(frozen=True)
class Archives:
    """The archive that is read and the one that is written, with the digests that it holds so far."""

    saved: tarfile.TarFile
    written: tarfile.TarFile
    known: set[str]

    def read(self, member: str) -> bytes:
        """Return a file of the saved archive."""
        return self.open(member).read()

    def open(self, member: str) -> IO[bytes]:
        """Open a file of the saved archive; raises KeyError when there is none."""
        found = self.saved.extractfile(member)
        if found is None:
            raise KeyError(member)
        return found

    def put(self, name: str, content: IO[bytes], size: int) -> None:
        """Write a file."""
        entry = tarfile.TarInfo(name)
        entry.size = size
        self.written.addfile(entry, content)

    def put_blob(self, media: str, content: IO[bytes], digest: str) -> Descriptor:
        """Write a blob unless it is known; return its descriptor."""
        size = content.seek(0, io.SEEK_END)
        content.seek(0)
        if digest not in self.known:
            self.put(f"blobs/{digest.replace(':', '/')}", content, size)
            self.known.add(digest)
        return {"mediaType": media, "digest": digest, "size": size}

    def put_json(self, media: str, document: bytes) -> Descriptor:
        """Write a JSON document as a blob."""
        return self.put_blob(media, io.BytesIO(document), f"sha256:{hashlib.sha256(document).hexdigest()}")


def write_lacking(saved: Path, target: Path, present: set[str]) -> Sequence[str]:
    """Write the images of a `docker save` file without the layers in `present`; return the digests of the others.

    `present` and the result are digests of uncompressed layers, as the image's config lists them.
    """
    with tarfile.open(saved) as source, tarfile.open(target, "w") as written:
        archives = Archives(source, written, set(present))
        entries: list[Descriptor] = []
        for image in json.loads(archives.read("manifest.json")):
            entries += put_image(archives, image)
        index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        layout = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
        for name, document in (("index.json", index), ("oci-layout", layout)):
            archives.put(name, io.BytesIO(document), len(document))
        return sorted(archives.known - present)


def put_image(archives: Archives, image: dict[str, list[str]]) -> list[Descriptor]:
    """Write one image; return an index entry for each of its names."""
    config = archives.read(str(image["Config"]))
    digests = json.loads(config)["rootfs"]["diff_ids"]
    layers = [
        archives.put_blob(_LAYER, archives.open(member), digest)
        for member, digest in zip(image["Layers"], digests, strict=True)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": archives.put_json(_CONFIG, config),
        "layers": layers,
    }
    entry = archives.put_json(_MANIFEST, json.dumps(manifest).encode())
    return [{**entry, "annotations": {_NAME: f"docker.io/{name}"}} for name in image["RepoTags"]]
