"""What re-reading a stage can find wrong."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from wsss_jobs.errors import DataError
from wsss_jobs.storage.object_store import ObjectNotFoundError, TornObjectError

FindingKind = Literal["missing", "torn", "foreign"]
_NUM_READ_THREADS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as it should be.

    Args:
        kind: `missing`: the manifest or the plan says that it is there. `torn`: it is there, but its hash, length or
            content is wrong. `foreign`: no stage writes such a key here.
        key: Below the stage's folder.
        message: What was expected and what was found.
    """

    kind: FindingKind
    key: str
    message: str


@dataclass(slots=True)
class Examination:
    """What has been found so far in one stage.

    Args:
        findings: In the order in which they were found.
        expected_keys: Keys that are not foreign.
        done_ids: Items whose output is there and sound.
        num_sound: Objects, packed masks and tensor rows that are as they should be.
    """

    findings: list[Finding] = field(default_factory=list)
    expected_keys: set[str] = field(default_factory=set)
    done_ids: set[str] = field(default_factory=set)
    num_sound: int = 0

    def look_at(self, key: str, look: Callable[[], object]) -> bool:
        """Whether an object is sound: it is there, and `look`, which reads it, does not raise that it is torn.

        Raises:
            StorageError: The store could not be asked, which says nothing of the object.
        """
        return self._note(key, _wrong_with(key, look))

    def look_at_all(self, looks: Iterable[tuple[str, Callable[[], object]]]) -> list[str]:
        """The keys of the sound ones among many objects, which are read several at a time."""
        pairs = list(looks)
        with ThreadPoolExecutor(_NUM_READ_THREADS) as pool:
            wrong = pool.map(lambda pair: _wrong_with(*pair), pairs)
            return [key for (key, _), finding in zip(pairs, wrong, strict=True) if self._note(key, finding)]

    def _note(self, key: str, finding: Finding | None) -> bool:
        self.expected_keys.add(key)
        if finding is None:
            self.num_sound += 1
            return True
        self.findings.append(finding)
        return False


def must_have_sha256(expected: str | None, found: str) -> None:
    """Nothing, if the hash is the one that was written down, or none was.

    Raises:
        TornObjectError: It is another.
    """
    if expected is not None and expected != found:
        raise TornObjectError(f"has SHA-256 {found}, was written with {expected}")


def _wrong_with(key: str, look: Callable[[], object]) -> Finding | None:
    try:
        look()
    except ObjectNotFoundError:
        return Finding("missing", key, "the stage says that it is there")
    except (TornObjectError, DataError) as error:
        return Finding("torn", key, str(error))
    except (pa.ArrowInvalid, OSError, ValueError, KeyError, TypeError) as error:
        return Finding("torn", key, f"cannot be decoded ({type(error).__name__}: {error})")
    return None
