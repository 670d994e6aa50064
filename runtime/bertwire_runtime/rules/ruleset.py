"""The rules of a model: matching of texts, and their effect."""

from collections.abc import Sequence

from bertwire_core.errors import UserError
from bertwire_core.tasks import ServedTask
from bertwire_runtime.bundle import Bundle, BundleError
from bertwire_runtime.output import Floats
from bertwire_runtime.rules.effects import adjusted, takes_rules
from bertwire_runtime.rules.file import RulesFaulty, parse, re2_module, re2_options
from bertwire_runtime.rules.rule import Rule

# Bytes for the automaton of all patterns. A fifth of it holds a thousand patterns with a gap of 30 characters each.
_AUTOMATON_BYTES = 64 << 20


class RuleSet:
    """The rules of a model. Thread-safe.

    Attributes:
        rules: in file order.
    """

    def __init__(self, content: bytes, task: ServedTask, labels: Sequence[str]) -> None:
        """Parse a file of rules for a model.

        Raises:
            RulesFaulty: the task takes no rules, or the file has faults, which are all named.
            UserError: the package google-re2 is not installed.
        """
        if not takes_rules(task):
            raise RulesFaulty([f"rules are for labels of whole texts, and the model's task is {task}"])
        self.rules = tuple(parse(content, labels))
        self._task = task
        # All patterns in one pass over a text, in a twentieth of the time of one search each.
        self._set = re2_module().Set.SearchSet(re2_options(max_mem=_AUTOMATON_BYTES))
        for each in self.rules:
            self._set.Add(each.pattern)
        # Matches every text: where it is not reported, RE2 ran out of memory, which it does not tell otherwise.
        self._set.Add("")
        try:
            self._set.Compile()
        except re2_module().error:
            raise RulesFaulty(["the patterns together are too large to be matched in one pass; shorten them"]) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the rules in file order."""
        return tuple(each.name for each in self.rules)

    def matching(self, text: str | tuple[str, str]) -> tuple[Rule, ...]:
        """Return the rules that match a text, or either text of a pair, in file order."""
        if isinstance(text, str):
            places = self._places(text)
        else:
            places = sorted({*self._places(text[0]), *self._places(text[1])})
        return tuple(self.rules[place] for place in places)

    def adjusted(self, matched: Sequence[Rule], logits: Floats) -> Floats:
        """Return the logits that give scores and decision where rules match, see `effects.adjusted`."""
        return adjusted(self._task, matched, logits)

    def _places(self, text: str) -> list[int]:
        found = sorted(self._set.Match(text) or ())
        if not found or found.pop() != len(self.rules):
            raise RuntimeError("RE2 has not enough memory to match the rules")
        return found


def read_rules(bundle: Bundle) -> RuleSet | None:
    """Return a bundle's rules; None where it has none.

    Raises:
        UserError: the package google-re2 is not installed.
        BundleError: the file does not fit the bundle.
    """
    manifest = bundle.manifest
    if manifest.rules is None:
        return None
    entry = manifest.rules.file
    try:
        rules = RuleSet(bundle.read(entry), manifest.task, manifest.labels)
    except RulesFaulty as error:
        raise BundleError(f"{bundle.path}: {entry.name}: {error}; export the checkpoint again") from None
    except BundleError:
        raise
    except UserError as error:
        raise UserError(f"{bundle.path}: its {error}") from None
    if rules.names != manifest.rules.names:
        raise BundleError(f"{bundle.path}: {entry.name} has other rules than the manifest; export the checkpoint again")
    return rules
