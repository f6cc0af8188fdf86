"""LM-Net written a second time, plainly, from the specification alone: published names, stock layers, plain loops.

It is slow and short, and shares no code with the package; tests compare the two on arguments that no stored golden case
has. Names of classes and arguments are those of the published modules.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Branch(nn.Module):
    def __init__(self, channels, kernel, dilation=1):
        super().__init__()
        padding = tuple((k // 2) * dilation for k in kernel)
        self.conv = nn.Conv2d(
            channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x))


class SE(nn.Module):
    def __init__(self, input_channels, reduction=4):
        super().__init__()
        self.fc1 = nn.Conv2d(input_channels, input_channels // reduction, 1)
        self.fc2 = nn.Conv2d(input_channels // reduction, input_channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class ReparamConv(nn.Module):
    def __init__(
        self,
        in_channels,
        expand_channels,
        out_channels,
        large_kernel_size=5,
        kernel_size=3,
        stride=1,
        groups=1,
        deploy=False,
        branches=("large", "square", "ver", "hor"),
    ):
        super().__init__()
        large, small, width = large_kernel_size, kernel_size, expand_channels
        kernels = {
            "large": ((large, large), 1),
            "square": ((small, small), 1),
            "ver": ((small, 1), 1),
            "hor": ((1, small), 1),
            "dilation": ((5, 5), 2),
            "big_large": ((7, 7), 1),
        }
        self.se = SE(width)
        self.expand_conv = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.BatchNorm2d(width), nn.Hardswish())
        self.names = () if deploy else tuple(f"{branch}_conv" for branch in branches)
        if deploy:
            side = max((k[0] - 1) * d + 1 for k, d in (kernels[b] for b in branches))
            self.fuse_conv = nn.Conv2d(width, width, side, padding=side // 2, groups=width)
        else:
            for branch in branches:
                setattr(self, f"{branch}_conv", Branch(width, *kernels[branch]))
        self.pointwise_conv = nn.Sequential(nn.Conv2d(width, out_channels, 1))
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x):
        u = self.expand_conv(x)
        t = sum(getattr(self, name)(u) for name in self.names) if self.names else self.fuse_conv(u)
        return self.pointwise_conv(self.se(F.gelu(t))) + self.shortcut(x)

    def leave_leftover(self):
        """What merging leaves behind: the tensors of the large branch, unused."""
        self.large_conv = Branch(self.fuse_conv.out_channels, self.fuse_conv.kernel_size)


class Mlp(nn.Module):
    def __init__(self, in_channel, mlp_channel, out_channel):
        super().__init__()
        self.fc1 = nn.Linear(in_channel, mlp_channel)
        self.fc2 = nn.Linear(mlp_channel, out_channel)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class GlobalAttention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        size = x.shape[-1] // self.num_heads
        heads = []
        for h in range(self.num_heads):
            part = slice(h * size, (h + 1) * size)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) * size**-0.5).softmax(-1)
            heads.append(weights @ v[..., part])
        return self.proj(torch.cat(heads, -1))


class PatchEmbedding(nn.Module):
    def __init__(self, in_channels, out_channels, patchsize, stride):
        super().__init__()
        self.patch_embeddings = nn.Conv2d(in_channels, out_channels, patchsize, stride, patchsize // 2)

    def forward(self, x):
        return self.patch_embeddings(x)


class GFT(nn.Module):
    def __init__(self, patchsize, img_size, in_channels, expand_ratios, out_channel, stride, num_heads):
        super().__init__()
        self.patchembedding = PatchEmbedding(in_channels, in_channels, patchsize, stride)
        self.norm1 = nn.LayerNorm(in_channels)
        self.attention = GlobalAttention(in_channels, num_heads)
        self.norm2 = nn.LayerNorm(in_channels)
        self.mlp = Mlp(in_channels, int(in_channels * expand_ratios), in_channels)
        self.conv = nn.Sequential(nn.Conv2d(in_channels, out_channel, 1))

    def forward(self, x):
        batch, _, height, width = x.shape
        z = self.patchembedding(x).flatten(2).transpose(1, 2)
        z = z + self.attention(self.norm1(z))
        z = z + self.mlp(self.norm2(z))
        return self.conv(z.transpose(1, 2).reshape(batch, -1, height, width))


class NeighborhoodAttention2D(nn.Module):
    """Every query and every head by itself; a map smaller than the window is padded before the projection."""

    def __init__(self, dim, num_heads, kernel_size=3, rel_pos_bias=False):
        super().__init__()
        self.num_heads, self.kernel_size = num_heads, kernel_size
        if rel_pos_bias:
            self.rpb = nn.Parameter(torch.zeros(num_heads, 2 * kernel_size - 1, 2 * kernel_size - 1))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        size = self.kernel_size
        rows, columns = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, max(0, size - columns), 0, max(0, size - rows)))
        height, width = x.shape[1:3]
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)) for t in self.qkv(x).chunk(3, -1))
        q = q * q.shape[-1] ** -0.5
        out = []
        for i in range(rows):
            for j in range(columns):
                top, left = min(max(i - size // 2, 0), height - size), min(max(j - size // 2, 0), width - size)
                keys, values = (t[:, top : top + size, left : left + size].flatten(1, 2) for t in (k, v))
                logits = torch.einsum("nhd,nkhd->nhk", q[:, i, j], keys)
                if hasattr(self, "rpb"):
                    a, b = top - i + size - 1, left - j + size - 1
                    logits = logits + self.rpb[:, a : a + size, b : b + size].flatten(1)
                out.append(torch.einsum("nhk,nkhd->nhd", logits.softmax(-1), values).flatten(1))
        return self.proj(torch.stack(out, 1).unflatten(1, (rows, columns)))


class NeighborhoodTransformer(nn.Module):
    def __init__(
        self, patchsize, img_size, in_channels, out_channel, stride, kernel_size, num_heads, rel_pos_bias=False
    ):
        super().__init__()
        self.patchembedding = PatchEmbedding(in_channels, out_channel, patchsize, stride)
        self.norm1 = nn.LayerNorm(out_channel)
        self.att1 = NeighborhoodAttention2D(out_channel, num_heads, 3, rel_pos_bias)  # whatever kernel_size says
        self.norm2 = nn.LayerNorm(out_channel)
        self.mlp = Mlp(out_channel, 2 * out_channel, out_channel)

    def forward(self, x):
        z = self.patchembedding(x).permute(0, 2, 3, 1)
        z = z + self.att1(self.norm1(z))
        z = z + self.mlp(self.norm2(z))
        return z.permute(0, 3, 1, 2)


def upsample():
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


def fuse(in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, 1, 1), nn.BatchNorm2d(out_channels), nn.GELU())


class M2Skip(nn.Module):
    def __init__(self, in_channels, model_type):
        super().__init__()
        fine, coarse = in_channels
        if model_type == "bottom":
            self.convl = nn.Sequential(nn.Conv2d(fine, coarse, 3, 2, 1))
            self.convs = nn.Sequential(nn.Conv2d(coarse, coarse, 3, 1, 1))
            self.fuse_conv = fuse(2 * coarse, coarse)
        else:
            self.convl = nn.Sequential(nn.Conv2d(fine, fine, 3, 1, 1))
            self.convs = nn.Sequential(upsample(), nn.Conv2d(coarse, fine, 3, 1, 1))
            self.fuse_conv = fuse(2 * fine, fine)

    def forward(self, fine, coarse):
        return self.fuse_conv(torch.cat([self.convl(fine), self.convs(coarse)], 1))


class M3Skip(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
        fine, same, coarse = in_channels
        self.convl = nn.Sequential(nn.Conv2d(fine, same, 3, 2, 1))
        self.convm = nn.Sequential(nn.Conv2d(same, same, 3, 1, 1))
        self.convs = nn.Sequential(upsample(), nn.Conv2d(coarse, same, 3, 1, 1))
        self.fuse_conv = fuse(3 * same, same)

    def forward(self, fine, same, coarse):
        return self.fuse_conv(torch.cat([self.convl(fine), self.convm(same), self.convs(coarse)], 1))


def pyramid(maps):
    return torch.cat([F.adaptive_avg_pool2d(m, maps[-1].shape[-2:]) for m in maps], 1)


class PooledGFT(GFT):
    def forward(self, *maps):
        return super().forward(pyramid(maps))


class My_ASPP(nn.Module):  # noqa: N801 — the published name
    def __init__(self, in_dims, out_dims, rate=(1, 6, 12, 18)):
        super().__init__()
        self.count = len(rate)
        for i, r in enumerate(rate):
            block = nn.Sequential(
                nn.Conv2d(in_dims, out_dims, 3, padding=r, dilation=r), nn.ReLU(), nn.BatchNorm2d(out_dims)
            )
            setattr(self, f"aspp_block{i + 1}", block)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_dims, out_dims, 1), nn.BatchNorm2d(out_dims), nn.ReLU()
        )
        self.output = nn.Sequential(
            nn.Conv2d((len(rate) + 1) * out_dims, out_dims, 1), nn.BatchNorm2d(out_dims), nn.ReLU()
        )

    def forward(self, x):
        maps = [getattr(self, f"aspp_block{i + 1}")(x) for i in range(self.count)]
        pooled = F.interpolate(self.global_avg_pool(x), x.shape[-2:], mode="bilinear", align_corners=True)
        return self.output(torch.cat([*maps, pooled], 1))


class LM_Net(nn.Module):  # noqa: N801 — the published name
    def __init__(
        self,
        channel,
        n_classes=2,
        filters=(12, 24, 48, 96, 192),
        deep_supervision=False,
        rel_pos_bias=False,
        skip="multi",
        lft=True,
        gft="multi",
        branches=("large", "square", "ver", "hor"),
        deploy=False,
    ):
        super().__init__()
        f = list(filters)
        self.skip, self.lft, self.kind = skip, lft, gft

        def stage(first, out, expand):
            options = {"branches": branches, "deploy": deploy}
            return nn.Sequential(ReparamConv(first, expand, out, **options), ReparamConv(out, expand, out, **options))

        for i in (1, 2, 3, 4):
            setattr(self, f"conv{i}", stage(channel if i == 1 else f[i - 1], f[i - 1], f[i]))
            setattr(self, f"down{i}", nn.Sequential(nn.Conv2d(f[i - 1], f[i], 3, 2, 1)))
            setattr(self, f"dconv{i}", stage(f[4 - i], f[4 - i], f[5 - i]))
            setattr(self, f"up{i}", nn.Sequential(upsample(), nn.Conv2d(f[5 - i], f[4 - i], 3, 1, 1)))
            if lft:
                natt = NeighborhoodTransformer(3, 0, f[4 - i], f[4 - i], 1, [3, 5], 12, rel_pos_bias)
                setattr(self, f"natt{i}", natt)
        if skip == "multi":
            self.skip1 = M2Skip([f[2], f[3]], "bottom")
            self.skip2 = M3Skip(f[1:4])
            self.skip3 = M3Skip(f[0:3])
            self.skip4 = M2Skip([f[0], f[1]], "top")
        if gft == "single":
            self.proj = nn.Conv2d(f[4], sum(f), 1)
        if gft in ("multi", "single"):
            self.gft = GFT(3, 14, sum(f), 2, f[4], 1, 12)
        if gft == "aspp":
            self.aspp = My_ASPP(f[4], f[4])
        self.output_layer = nn.Conv2d(f[0], n_classes, 1)

    def forward(self, x):
        maps = []
        for i in (1, 2, 3, 4):
            x = getattr(self, f"conv{i}")(x)
            maps.append(x)
            x = getattr(self, f"down{i}")(x)
        if self.kind == "multi":
            x = self.gft(pyramid([*maps, x]))
        elif self.kind == "single":
            x = self.gft(self.proj(x))
        elif self.kind == "aspp":
            x = self.aspp(x)
        x1, x2, x3, x4 = maps
        inputs = {1: (x3, x4), 2: (x2, x3, x4), 3: (x1, x2, x3), 4: (x1, x2)}
        for i in (1, 2, 3, 4):
            s = getattr(self, f"skip{i}")(*inputs[i]) if self.skip == "multi" else maps[4 - i]
            s = getattr(self, f"natt{i}")(s) if self.lft else s
            x = getattr(self, f"dconv{i}")(getattr(self, f"up{i}")(x) + s)
        return self.output_layer(x)


COMPONENTS = {
    "LM_Net": LM_Net,
    "ReparamConv": ReparamConv,
    "SE": SE,
    "Mlp": Mlp,
    "GlobalAttention": GlobalAttention,
    "GFT": GFT,
    "PyramidPool then GFT": PooledGFT,
    "NeighborhoodTransformer": NeighborhoodTransformer,
    "NeighborhoodAttention2D": NeighborhoodAttention2D,
    "M2Skip": M2Skip,
    "M3Skip": M3Skip,
    "My_ASPP": My_ASPP,
}
