"""Convert by Hugging Face Optimum, in an environment and a process of its own; see docs/decisions/011-optimum.md."""

from bertwire_export.optimum.driver import convert_with_optimum, require_environment

__all__ = ["convert_with_optimum", "require_environment"]
