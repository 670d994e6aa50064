"""The table of methods. A method imports PyTorch when it trains, so that reading its options is fast."""

from typing import Any

from bertwire_trainer.method import Method
from bertwire_trainer.methods.few_shot import FewShot
from bertwire_trainer.methods.frozen import Frozen
from bertwire_trainer.methods.full import Full
from bertwire_trainer.methods.lora import Lora
from bertwire_trainer.methods.prototypes import Prototypes
from bertwire_trainer.methods.zero_shot import ZeroShot

DEFAULT = "full"
# In place of a method: the one that suits the rows.
AUTO = "auto"
METHODS: dict[str, Method[Any]] = {
    "full": Full(),
    "lora": Lora(),
    "frozen": Frozen(),
    "few-shot": FewShot(),
    "prototypes": Prototypes(),
    "zero-shot": ZeroShot(),
}
