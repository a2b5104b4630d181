"""cache: frozen encoders and the feature store. Knows images, never labels.

This file owns the table of built-in encoders and imports nothing, so that a list of names costs nothing. A plugin
package offers the same line as an entry point in the group `sam_iqa.encoders`.
"""

ENCODERS: dict[str, str] = {
    "sam-vit-b": "cache.encoders.sam:SAM_VIT_B",
    "sam-vit-l": "cache.encoders.sam:SAM_VIT_L",
    "sam-vit-h": "cache.encoders.sam:SAM_VIT_H",
    "sam-tiny": "cache.encoders.sam:SAM_TINY",
    "sam2-tiny": "cache.encoders.sam2:SAM2_TINY",
    "sam2-small": "cache.encoders.sam2:SAM2_SMALL",
    "sam2-base-plus": "cache.encoders.sam2:SAM2_BASE_PLUS",
    "sam2-large": "cache.encoders.sam2:SAM2_LARGE",
    "mobile-sam": "cache.encoders.mobile_sam:MOBILE_SAM",
    "efficientnet-lite0": "cache.encoders.efficientnet:EFFICIENTNET_LITE0",
    "resnet50": "cache.encoders.timm:RESNET50",
    "convnext-tiny": "cache.encoders.timm:CONVNEXT_TINY",
    "clip-vit-b": "cache.encoders.timm:CLIP_VIT_B",
    "dinov2-s": "cache.encoders.timm:DINOV2_S",
    "siglip2-b": "cache.encoders.timm:SIGLIP2_B",
    "dinov3-s": "cache.encoders.timm:DINOV3_S",
    "pe-core-b": "cache.encoders.timm:PE_CORE_B",
    "pe-spatial-b": "cache.encoders.timm:PE_SPATIAL_B",
    "timm": "cache.encoders.timm:TIMM",
    "onnx": "cache.encoders.onnx:ONNX",
    "pixel-spectrum": "cache.encoders.floors:PIXEL_SPECTRUM",
    "nss": "cache.encoders.floors:NSS",
    "shortcuts": "cache.encoders.floors:SHORTCUTS",
}
