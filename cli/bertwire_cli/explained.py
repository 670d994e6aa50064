"""Explanations on a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertwire_client.replies import Attribution, Explanation

# Words of the table, strongest first.
_SHOWN_SPANS = 10
# Share of the strongest word's effect from which a word is bold.
_STRONG = 0.5


def explained(text: str, text_pair: str | None, explanation: Explanation) -> RenderableType:
    """Return the text with the words that speak for the label in green and those against it in red, and a table.

    Words speak by the label's logit; where rules match the text by its score, which alone has what the rules do.
    """
    label = f"{explanation.label}: score {explanation.score:.4f}, logit {explanation.logit:+.4f}"
    texts = [text] if text_pair is None else [text, text_pair]
    table = Table()
    for name, justify in {"without": "left", "logit falls by": "right", "score falls by": "right"}.items():
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for each in sorted(explanation.spans, key=lambda each: -abs(_effect(each, explanation)))[:_SHOWN_SPANS]:
        word = texts[each.in_text_pair][each.start : each.end]
        # As `Text`, so that rich does not parse square brackets as markup.
        table.add_row(Text(word), Text(f"{each.logit:+.4f}"), Text(f"{each.score:+.4f}"))
    rules = f"rules {', '.join(explanation.rules)}: the score and the colours are with them, the logit is without"
    ruled = [Text(rules)] if explanation.rules else []
    return Group(Text(label), *ruled, *(_coloured(each, place, explanation) for place, each in enumerate(texts)), table)


def _coloured(text: str, place: int, explanation: Explanation) -> Text:
    shown = Text(text)
    most = max((abs(_effect(each, explanation)) for each in explanation.spans), default=0.0)
    for each in explanation.spans:
        if each.in_text_pair == bool(place):
            shown.stylize(_style(_effect(each, explanation), most), each.start, each.end)
    return shown


def _effect(span: Attribution, explanation: Explanation) -> float:
    return span.score if explanation.rules else span.logit


def _style(effect: float, most: float) -> str:
    if not effect:
        return ""
    colour = "green" if effect > 0 else "red"
    return f"bold {colour}" if abs(effect) >= _STRONG * most else colour
