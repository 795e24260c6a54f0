"""A bundle's manifest: what files there are, and which of them its codec id stands for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from icm.codec.entropy.context import PHASES
from icm.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.icm"
TEMPORAL = tuple(f"temporal_{group}.onnx" for group in range(2))
"""The networks of differences in P records without motion; a bundle made since has none of these."""
CONTEXT = tuple(f"context_{group}_{phase}.onnx" for group in range(4) for phase in range(PHASES))
"""The networks of the context model's steps, in their order."""
MOTION_TABLES = "motion.npz"
SEARCH = "search_synthesis"
"""The array of it that no record decodes by; see ``MotionModel``."""
MOTION = tuple(f"motion_{group}.onnx" for group in range(2))
"""The networks of differences in P records with motion; a bundle from before motion has none of these."""
FIELD_TABLES = ("movement", "mode", "choice", "offset")
"""Names of the tables of fields, in the order of ``FieldTables``."""
SYNTHESIS = "decoder.onnx"
UNFINETUNED = "decoder_base.onnx"
"""The synthesis from before its finetuning; not every bundle has it."""
ENCODING = ("encoder.onnx", "hyper_encoder.onnx")
"""What only an encoder needs: a better one leaves every record decodable."""
DECODING = ("hyper_decoder.onnx", *CONTEXT, "entropy.npz")
"""What turns an I record into its latents, and with the files of P records, of either kind, any record."""


class BundleFile(BaseModel):
    """A file of the bundle as the manifest knows it."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    bytes: int


Deviation = Annotated[float, Field(ge=0)]
"""A standard deviation in grey levels."""


class Manifest(BaseModel):
    """manifest.json.

    Attributes:
        format: version of the bundle's layout.
        name: of the bundle; its folder's name.
        codec_id: hex digest of what turns records into latents.
        levels: how many quality levels there are.
        grain: of pictures as people are shown them, its standard deviation at each level in grey levels; empty for
            none.
        detector_grain: the same of pictures as detectors are shown them; None for what people are shown.
        detector_grain_after: the same, where the frame was coded after another; None for ``detector_grain``.
        files: every other file, by name.
        training: where the weights came from, free form.
        figures: what was measured, free form.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    name: str
    codec_id: str
    levels: int
    grain: list[Deviation] = []
    detector_grain: list[Deviation] | None = None
    detector_grain_after: list[Deviation] | None = None
    files: dict[str, BundleFile]
    training: dict[str, Any]
    figures: dict[str, Any]

    @model_validator(mode="after")
    def _grain_of_each_level(self) -> Self:
        for name in ("grain", "detector_grain", "detector_grain_after"):
            deviations = getattr(self, name)
            if deviations and len(deviations) != self.levels:
                raise ValueError(f"{name} has {len(deviations)} values, and there are {self.levels} levels")
        return self

    @property
    def decodes(self) -> frozenset[bytes]:
        """Codec ids of the records that it decodes: its own, and the one from before it learned motion, if it did."""
        before = [codec_id_of(self.files, motion=False)] if TEMPORAL[0] in self.files else []
        return frozenset(bytes.fromhex(codec_id) for codec_id in (self.codec_id, *before))


def codec_id_of(files: dict[str, BundleFile], *, motion: bool = True) -> str:
    """Digest of the files that turn records into latents, in hex.

    Args:
        motion: whether those of motion belong to them, if there are any. Without, it is the codec id that the bundle
            had before it learned motion, whose records it still decodes.
    """
    following = (*TEMPORAL, DECODING[-1], *((*MOTION, MOTION_TABLES) if motion else ()))
    names = [*DECODING[:-1], *(name for name in following if name in files)]
    listing = "".join(f"{name} {files[name].sha256}\n" for name in names)
    return hashlib.sha256(listing.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in a folder.

    Raises:
        BundleError: there is none, or it is none of this format.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"there is no codec bundle at {folder}: cannot read {path.name}: {error.strerror}") from None
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no manifest of bundle format {FORMAT}: {error}") from None
