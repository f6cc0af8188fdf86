"""Networks: their registry, their weights and their cost."""

from glocal.models.network import Features, Network, deploy
from glocal.models.registry import ModelInfo, create_model, list_models, model_info

__all__ = ["Features", "ModelInfo", "Network", "create_model", "deploy", "list_models", "model_info"]
