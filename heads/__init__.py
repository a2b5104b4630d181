"""heads: small trainable things that turn features into a quality score. Never reads a store, image or table.

This file owns the table of built-in heads and imports nothing, so that a list of names costs nothing. A
head is one file and one line here; a plugin package offers the same line as an entry point in the group
`sam_iqa.heads`, and is held to `heads.conformance.check_head`.
"""

HEADS: dict[str, str] = {
    "fft": "heads.fft:FftHead",
    "spatial": "heads.spatial:SpatialHead",
    "sam-iqa": "heads.sam_iqa:SamIqaHead",
    "mlp": "heads.mlp:MlpHead",
    "ridge": "heads.ridge:RidgeHead",
}
