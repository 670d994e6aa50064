"""What a job may write: paths apart from those that it reads, of the right kind, and free or to be replaced."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bertwire_batch.answers import Unfinished
from bertwire_batch.config import JobConfig
from bertwire_batch.sources import STDIN, Source
from bertwire_core.errors import UserError
from bertwire_core.files import require_absent, require_apart


def require_free(config: JobConfig, before: Unfinished | None) -> None:
    """Raise `UserError` where an output exists that may not be replaced, or a folder in place of a file or vice versa.

    Args:
        config: the job's settings.
        before: the run to go on with; killed while its files took their places, it left some of them.
    """
    for path in config.outputs:
        left = before is not None and str(path.absolute()) in before.written
        require_absent(path, overwrite=config.overwrite or left)
        _require_kind(path, folder=config.many and path != config.summary)


def require_inputs_kept(config: JobConfig, sources: Iterable[Source]) -> None:
    """Raise `UserError` where an output is one of the inputs that were found, or a folder that holds one."""
    files = [source.path for source in sources if source.path != STDIN]
    for path in config.outputs:
        require_apart(path, *files)


def require_names(config: JobConfig, names: list[Path], failed: list[Path]) -> None:
    """Raise `UserError` where two inputs have one output, or something is in the way in the folders of outputs.

    Args:
        config: the job's settings.
        names: of the files in the output, if that is a folder.
        failed: of the files in the folder of failed rows.
    """
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} inputs would be written to {name}; rename one or read them one at a time")
    for root, inner in ((config.output, names), (config.errors, failed)):
        if root is None or not config.many:
            continue
        for each in inner:
            _require_kind(root / each, folder=False)
            for parent in list(each.parents)[:-1]:
                _require_kind(root / parent, folder=True)


def _require_kind(path: Path, *, folder: bool) -> None:
    if path.exists() and path.is_dir() != folder:
        found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
        raise UserError(f"{path} is {found}, and the output is {wanted}; choose another output")
