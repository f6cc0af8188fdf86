"""Blocks to drop into any network. They need torch alone."""

from glocal.nn.additive_gate import AdditiveAttentionGate
from glocal.nn.aspp import ASPP
from glocal.nn.attention_gate import GroupedAttentionGate
from glocal.nn.channel_affinity import ChannelAffinity
from glocal.nn.channel_cross_attention import ChannelCrossAttention, ChannelCrossTransformer
from glocal.nn.channel_skip_gate import ChannelSkipGate
from glocal.nn.conv_mlp import ConvMlp
from glocal.nn.conv_norm import ConvNorm
from glocal.nn.conv_norm_relu import ConvNormReLU
from glocal.nn.deeplab import AtrousPyramid
from glocal.nn.dilated import DilatedConv2d
from glocal.nn.double_conv import DoubleConv
from glocal.nn.drop_path import DropPath, drop_path_rates
from glocal.nn.dssa import DualSparseSelectionAttention
from glocal.nn.fcn_head import FCNHead
from glocal.nn.feature_transformers import GlobalFeatureTransformer, LocalFeatureTransformer
from glocal.nn.fpn import FeaturePyramid
from glocal.nn.gated_skip import GatedPyramidSkip
from glocal.nn.gates import ChannelGate, SpatialGate
from glocal.nn.global_attention import GlobalAttention
from glocal.nn.group_norm_residual import GroupNormResidual
from glocal.nn.hff import HFF, BottleneckHFF
from glocal.nn.inverted_residual import InvertedResidualMlp
from glocal.nn.layer_norm import LayerNorm2d
from glocal.nn.level_fusion import LevelFusion
from glocal.nn.local_block import ConvNeXtBlock, LocalBlock
from glocal.nn.locally_enhanced import LocallyEnhancedAttention, PositionedBlock
from glocal.nn.mix_transformer import MixTransformerBlock, MixTransformerEncoder
from glocal.nn.mlp import Mlp
from glocal.nn.mobilenet import InvertedResidual, MobileNetV2Encoder
from glocal.nn.multi_branch import MultiBranchBlock
from glocal.nn.multi_skip import MultiSkip
from glocal.nn.multiplicative_pyramid import MultiplicativePyramid
from glocal.nn.nearest_upsample import NearestUpsampleConv
from glocal.nn.neighborhood import NeighborhoodAttention2d, neighborhood_attention
from glocal.nn.patch_expanding import PatchExpanding
from glocal.nn.pointwise import PointwiseConv2d
from glocal.nn.position_embedding import PositionEmbedding2d
from glocal.nn.preactivation import PreActivationBlock, PreActivationStem
from glocal.nn.pyramid import pyramid_pool
from glocal.nn.pyramid_pooling import PyramidPooling
from glocal.nn.pyramid_squeeze import PyramidSqueezeAttention
from glocal.nn.reparam import BRANCHES, Branch, ReparamConv2d
from glocal.nn.resized_fusion import ResizedFusion
from glocal.nn.resnet import Bottleneck, ResNetEncoder
from glocal.nn.retinanet_head import RetinaNetHead
from glocal.nn.semantic_fpn import SemanticFPNHead
from glocal.nn.spatial_bottleneck import SpatialBottleneckGate
from glocal.nn.spatial_reduction import SpatialReductionAttention
from glocal.nn.spm import GuidedLocalEnhancement, MultiScaleAggregation, StepwisePatchMerging, guided_attention
from glocal.nn.squeeze_excitation import SqueezeExcitation
from glocal.nn.star_dssa import StarDSSA
from glocal.nn.swin import PatchMerging, SwinEncoder, swin_stage
from glocal.nn.transformer import TransformerBlock
from glocal.nn.two_path import TwoPathBlock
from glocal.nn.upernet import UPerNetHead
from glocal.nn.upsample import UpsampleConv
from glocal.nn.upsample_skip import UpsampleSkipBlock
from glocal.nn.weight_standardized import WeightStandardizedConv2d
from glocal.nn.window_attention import WindowAttention
from glocal.nn.window_block import WindowBlock

__all__ = [
    "ASPP",
    "BRANCHES",
    "HFF",
    "AdditiveAttentionGate",
    "AtrousPyramid",
    "Bottleneck",
    "BottleneckHFF",
    "Branch",
    "ChannelAffinity",
    "ChannelCrossAttention",
    "ChannelCrossTransformer",
    "ChannelGate",
    "ChannelSkipGate",
    "ConvMlp",
    "ConvNeXtBlock",
    "ConvNorm",
    "ConvNormReLU",
    "DilatedConv2d",
    "DoubleConv",
    "DropPath",
    "DualSparseSelectionAttention",
    "FCNHead",
    "FeaturePyramid",
    "GatedPyramidSkip",
    "GlobalAttention",
    "GlobalFeatureTransformer",
    "GroupNormResidual",
    "GroupedAttentionGate",
    "GuidedLocalEnhancement",
    "InvertedResidual",
    "InvertedResidualMlp",
    "LayerNorm2d",
    "LevelFusion",
    "LocalBlock",
    "LocalFeatureTransformer",
    "LocallyEnhancedAttention",
    "MixTransformerBlock",
    "MixTransformerEncoder",
    "Mlp",
    "MobileNetV2Encoder",
    "MultiBranchBlock",
    "MultiScaleAggregation",
    "MultiSkip",
    "MultiplicativePyramid",
    "NearestUpsampleConv",
    "NeighborhoodAttention2d",
    "PatchExpanding",
    "PatchMerging",
    "PointwiseConv2d",
    "PositionEmbedding2d",
    "PositionedBlock",
    "PreActivationBlock",
    "PreActivationStem",
    "PyramidPooling",
    "PyramidSqueezeAttention",
    "ReparamConv2d",
    "ResNetEncoder",
    "ResizedFusion",
    "RetinaNetHead",
    "SemanticFPNHead",
    "SpatialBottleneckGate",
    "SpatialGate",
    "SpatialReductionAttention",
    "SqueezeExcitation",
    "StarDSSA",
    "StepwisePatchMerging",
    "SwinEncoder",
    "TransformerBlock",
    "TwoPathBlock",
    "UPerNetHead",
    "UpsampleConv",
    "UpsampleSkipBlock",
    "WeightStandardizedConv2d",
    "WindowAttention",
    "WindowBlock",
    "drop_path_rates",
    "guided_attention",
    "neighborhood_attention",
    "pyramid_pool",
    "swin_stage",
]
