"""cache: frozen encoders and the feature store. Knows images, never labels.

This file owns the table of built-in encoders and imports nothing, so that a list of names costs nothing. A plugin
package offers the same line as an entry point in the group `sam_iqa.encoders`.
"""

ENCODERS: dict[str, str] = {
    "sam-vit-b": "cache.encoders.sam:SAM_VIT_B",
    "sam-vit-l": "cache.encoders.sam:SAM_VIT_L",
    "sam-vit-h": "cache.encoders.sam:SAM_VIT_H",
    "sam-tiny": "cache.encoders.sam:SAM_TINY",
    "efficientnet-lite0": "cache.encoders.efficientnet:EFFICIENTNET_LITE0",
    "onnx": "cache.encoders.onnx:ONNX",
}
