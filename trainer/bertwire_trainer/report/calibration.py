"""How far the probabilities of the model are right, before a temperature is fitted."""

from bertwire_data.pages.figures import calibration_error
from bertwire_data.pages.images import image
from bertwire_data.pages.plots import reliability
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Plot, Section

_TITLE = "Calibration"


def calibration(material: Material) -> list[Section]:
    """Return the section of the reliability plot on dev and the expected calibration error."""
    held = material.held["dev"]
    found = material.kind.confidence(held.logits, held.targets, material.labels)
    if found is None or not len(found[0]):
        return [Section(_TITLE, "None: the model gives no probability.")]
    error = calibration_error(*found)
    remark = (
        "Of the decisions with a probability of 0.8, four in five should be right: the line follows the diagonal. "
        f"The expected calibration error on dev is {error:.4f}, before export fits a temperature or thresholds."
    )
    series = [("probabilities", found[0], "tab:blue", error)]
    plot = Plot(image(reliability(series, found[1])), "Reliability of the probabilities")
    return [Section(_TITLE, remark, [plot], figures={"ece": error})]
