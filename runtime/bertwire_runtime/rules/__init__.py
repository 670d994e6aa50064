"""Rules: patterns that force, forbid or boost a label of the texts that they match. docs/formats.md has the file."""

from bertwire_runtime.rules.file import RULES, RulesFaulty
from bertwire_runtime.rules.rule import Rule
from bertwire_runtime.rules.ruleset import RuleSet, read_rules

__all__ = ["RULES", "Rule", "RuleSet", "RulesFaulty", "read_rules"]
