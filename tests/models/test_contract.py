"""The contract, for every registered network: one that is added is held to it without another line.

The smallest variant of each family keeps the whole contract; of the others the records are checked. The systems this
package is for are also run as ONNX.
"""

from contract import NetworkContract, OnnxContract, RecordContract

import glocal


def but_idle_biases(self, names):
    """Without the biases of convolutions that a batch norm follows: rounding decides whether their gradient is 0."""
    return [name for name in names if not name.endswith("conv.bias")]


ATTRIBUTES = {
    "attention_unet": {"without_gradient": but_idle_biases},
    "dssaunet": {"size": (256, 32), "selects": True},
    "lmnet": {"size": (32, 48)},
    "monai_dynunet": {"size": (96, 128)},
    "resunet": {"without_gradient": but_idle_biases},
    "resunetpp": {"without_gradient": but_idle_biases},
    "star_dssaunet": {"size": (256, 32), "selects": True, "open_gates": True},
    "unetpp": {"without_gradient": but_idle_biases},
}
"""Family -> attributes of :class:`NetworkContract` that differ for it."""

SYSTEMS = {"lmnet", "hifuse", "hiperformer", "pvt", "swin", "semantic_fpn", "upernet", "dssaunet", "star_dssaunet"}

INFOS = [glocal.model_info(name) for name in glocal.list_models()]
SMALLEST = {info.family: info.name for info in sorted(INFOS, key=lambda info: -info.parameters)}

for info in INFOS:
    whole = SMALLEST[info.family] == info.name
    base = RecordContract if not whole else OnnxContract if info.family in SYSTEMS else NetworkContract
    title = f"Test_{info.name}"
    globals()[title] = type(title, (base,), {"name": info.name, **(ATTRIBUTES.get(info.family, {}) if whole else {})})
