"""Blocks to drop into any network. They need torch alone."""

from glocal.nn.aspp import ASPP
from glocal.nn.conv_norm import ConvNorm
from glocal.nn.drop_path import DropPath, drop_path_rates
from glocal.nn.feature_transformers import GlobalFeatureTransformer, LocalFeatureTransformer
from glocal.nn.global_attention import GlobalAttention
from glocal.nn.layer_norm import LayerNorm2d
from glocal.nn.mlp import Mlp
from glocal.nn.multi_branch import MultiBranchBlock
from glocal.nn.multi_skip import MultiSkip
from glocal.nn.neighborhood import NeighborhoodAttention2d, neighborhood_attention
from glocal.nn.pyramid import pyramid_pool
from glocal.nn.reparam import BRANCHES, Branch, ReparamConv2d
from glocal.nn.squeeze_excitation import SqueezeExcitation
from glocal.nn.transformer import TransformerBlock
from glocal.nn.upsample import UpsampleConv
from glocal.nn.window_attention import WindowAttention

__all__ = [
    "ASPP",
    "BRANCHES",
    "Branch",
    "ConvNorm",
    "DropPath",
    "GlobalAttention",
    "GlobalFeatureTransformer",
    "LayerNorm2d",
    "LocalFeatureTransformer",
    "Mlp",
    "MultiBranchBlock",
    "MultiSkip",
    "NeighborhoodAttention2d",
    "ReparamConv2d",
    "SqueezeExcitation",
    "TransformerBlock",
    "UpsampleConv",
    "WindowAttention",
    "drop_path_rates",
    "neighborhood_attention",
    "pyramid_pool",
]
