"""Blocks to drop into any network. They need torch alone."""

from glocal.nn.aspp import ASPP
from glocal.nn.attention_gate import GroupedAttentionGate
from glocal.nn.channel_affinity import ChannelAffinity
from glocal.nn.conv_norm import ConvNorm
from glocal.nn.drop_path import DropPath, drop_path_rates
from glocal.nn.feature_transformers import GlobalFeatureTransformer, LocalFeatureTransformer
from glocal.nn.gated_skip import GatedPyramidSkip
from glocal.nn.global_attention import GlobalAttention
from glocal.nn.inverted_residual import InvertedResidualMlp
from glocal.nn.layer_norm import LayerNorm2d
from glocal.nn.level_fusion import LevelFusion
from glocal.nn.mlp import Mlp
from glocal.nn.multi_branch import MultiBranchBlock
from glocal.nn.multi_skip import MultiSkip
from glocal.nn.multiplicative_pyramid import MultiplicativePyramid
from glocal.nn.neighborhood import NeighborhoodAttention2d, neighborhood_attention
from glocal.nn.pyramid import pyramid_pool
from glocal.nn.pyramid_squeeze import PyramidSqueezeAttention
from glocal.nn.reparam import BRANCHES, Branch, ReparamConv2d
from glocal.nn.spatial_bottleneck import SpatialBottleneckGate
from glocal.nn.squeeze_excitation import SqueezeExcitation
from glocal.nn.swin import PatchMerging, SwinEncoder, swin_stage
from glocal.nn.transformer import TransformerBlock
from glocal.nn.two_path import TwoPathBlock
from glocal.nn.upsample import UpsampleConv
from glocal.nn.window_attention import WindowAttention

__all__ = [
    "ASPP",
    "BRANCHES",
    "Branch",
    "ChannelAffinity",
    "ConvNorm",
    "DropPath",
    "GatedPyramidSkip",
    "GlobalAttention",
    "GlobalFeatureTransformer",
    "GroupedAttentionGate",
    "InvertedResidualMlp",
    "LayerNorm2d",
    "LevelFusion",
    "LocalFeatureTransformer",
    "Mlp",
    "MultiBranchBlock",
    "MultiSkip",
    "MultiplicativePyramid",
    "NeighborhoodAttention2d",
    "PatchMerging",
    "PyramidSqueezeAttention",
    "ReparamConv2d",
    "SpatialBottleneckGate",
    "SqueezeExcitation",
    "SwinEncoder",
    "TransformerBlock",
    "TwoPathBlock",
    "UpsampleConv",
    "WindowAttention",
    "drop_path_rates",
    "neighborhood_attention",
    "pyramid_pool",
    "swin_stage",
]
