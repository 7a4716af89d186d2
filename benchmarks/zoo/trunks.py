"""A zoo of classifiers without their heads: what is left of many of them is local. Needs timm; downloads nothing.

A head that pools the whole image makes every classifier a refusal and hides what lies before it. So the trunk is
analysed by itself, where a wrong answer would show.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TRUNKS = """
resnet18 resnet50 resnet50d resnext50_32x4d res2net50_26w_4s densenet121 vgg11_bn inception_v3 inception_v4
inception_resnet_v2 xception41 legacy_xception mobilenetv2_100 mobilenetv4_conv_small regnetx_002
convnext_atto convnext_tiny repvgg_a0 mobileone_s0 hrnet_w18_small dla34 dpn68 cspdarknet53 cspresnet50
darknet53 selecsls42 fbnetc_100 mnasnet_100 pnasnet5large convmixer_768_32 inception_next_atto starnet_s1
fasternet_t0 hgnetv2_b0 tresnet_m mambaout_femto resnetblur18 efficientnet_es gernet_s resnet26t resnetaa50
wide_resnet50_2 tf_efficientnet_lite0 tf_mobilenetv3_small_minimal_100 resnetv2_50 resnetv2_50d_evos
spnasnet_100 nf_resnet50 edgenext_xx_small visformer_tiny caformer_s18 convformer_s18 tiny_vit_5m_224
cs3darknet_s repghostnet_050 efficientnet_lite0 vgg16 xcit_nano_12_p16_224 levit_conv_128s
"""
NAMES = tuple(TRUNKS.split())
FIXED = ("levit_conv_128s", "visformer_tiny")
"""They run at one size only."""


class Trunk(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        self.model: nn.Module = timm.create_model(name, pretrained=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model.forward_features(x)  # type: ignore[operator]
        return out


def names() -> Sequence[str]:
    return NAMES


def kind(name: str) -> str:
    return "trunk"


def preload() -> None:
    import timm  # noqa: F401


def build(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    size = 224 if name.endswith("224") or name in FIXED else 128
    return Trunk(name).eval(), (torch.zeros(1, 3, size, size),)
