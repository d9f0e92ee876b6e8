"""UTKFace (Zhang, Song and Qi, CVPR 2017): faces with age, gender and ethnicity in their names.

For non-commercial research only. Names are `[age]_[gender]_[race]_[date and time].jpg`, aligned crops with
`.jpg.chip.jpg` at the end; a few published names lack a part or have a blank in it.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

from driftloop.core.records import Seed
from driftloop.datasets.checks import fingerprint, not_empty, one_of, plain_id
from driftloop.datasets.pictures import SUFFIXES, picture
from driftloop.datasets.tree import DataError, Member, Tree, some

GENDERS = ("male", "female")
ETHNICITIES = ("white", "black", "asian", "indian", "others")
"""Categories by code, from 0."""
OLDEST = 116
NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d{8,20})(?!\d).*")
EXAMPLE = "26_1_0_20170116184024662.jpg"
CONCEPT_KINDS = ("image", "gender", "age", "ethnicity")


class UtkFace:
    """`root` is a folder or a zip with the images of one kind: faces in the wild, or aligned crops.

    concept_kind: image (every seed has the concept "image") or gender, age, ethnicity: that label is the concept.
    age_cuts: first ages of the groups after the youngest, such as 3, 10, 20 for 0-2, 3-9, 10-19, 20+; label_age is that
    group. Without cuts there is no label_age; label_years is the age as it is written.
    malformed: names that do not tell age, gender and race are skipped with a warning, or an error.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        concept_kind: str = "image",
        age_cuts: Sequence[int] | None = None,
        malformed: str = "skip",
    ) -> None:
        self.concept_kind = one_of("concept_kind", concept_kind, CONCEPT_KINDS)
        self._cuts = list(age_cuts or [])
        if any(first >= second for first, second in pairwise([0, *self._cuts, OLDEST + 1])):
            raise ValueError(f"age_cuts must be rising ages above 0 and at most {OLDEST}; got {self._cuts}")
        if concept_kind == "age" and not self._cuts:
            raise ValueError("concept_kind=age needs age_cuts: the names tell years, not groups")
        self._malformed = one_of("malformed", malformed, ("skip", "error"))
        self._tree = Tree(root)
        self._notes: list[str] = []

    def fingerprint(self) -> str:
        sizes = {seed.source: self._tree.size(seed.source) for seed in self._seeds}
        return fingerprint(self._seeds, sizes, concept_kind=self.concept_kind)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    def notes(self) -> list[str]:
        """How many seeds there are, and how many names could not be read."""
        return [f"UTKFace: {len(self._seeds)} seeds", *self._notes]

    @cached_property
    def _seeds(self) -> list[Seed]:
        members = self._members()
        told = {name: NAME.fullmatch(name) for name in members}
        sound = {name: match for name, match in told.items() if match and int(match[1]) <= OLDEST}
        self._tell(sorted(set(members) - set(sound)))
        seeds = [self._seed(members[name], match) for name, match in sound.items()]
        return not_empty(seeds, f"{self._tree.root} has no image with a name like {EXAMPLE}")

    def _tell(self, malformed: Sequence[str]) -> None:
        if not malformed:
            return
        fault = f"names that do not tell age, gender and race like {EXAMPLE} ({some(malformed)})"
        if self._malformed == "error":
            raise DataError(f"{self._tree.root} has {fault}; malformed=skip leaves them out")
        warnings.warn(f"UTKFace: left out {fault}", stacklevel=2)
        self._notes.append(f"UTKFace: left out {len(malformed)} images whose names cannot be read")

    def _members(self) -> dict[str, Member]:
        """The image of each name; copies hold some folders twice."""
        chosen: dict[str, Member] = {}
        for path, member in self._tree.members.items():
            name = PurePosixPath(path).name
            if PurePosixPath(path).suffix.lower() in SUFFIXES and chosen.setdefault(name, member).size != member.size:
                raise DataError(f"{chosen[name].name} and {path} are different files of one name; remove one")
        chips = {name for name in chosen if ".chip." in name}
        if chips and len(chips) < len(chosen):
            both = f"{len(chips)} aligned crops and {len(chosen) - len(chips)} faces in the wild"
            raise DataError(f"{self._tree.root} holds {both} of the same people; give the folder of one kind as root")
        return chosen

    def _seed(self, member: Member, match: re.Match[str]) -> Seed:
        years = int(match[1])
        labels = {"gender": GENDERS[int(match[2])], "ethnicity": ETHNICITIES[int(match[3])], "years": str(years)}
        labels |= {"age": self._group(years)} if self._cuts else {}
        return Seed(
            seed_id=plain_id(f"utk-{'_'.join(match.groups())}", member.name),
            dataset="utkface",
            concept_kind=self.concept_kind,
            concept=labels.get(self.concept_kind, "image"),
            labels=labels,
            picture=partial(picture, member),
            source=member.name,
        )

    def _group(self, years: int) -> str:
        at = bisect_right(self._cuts, years)
        first = self._cuts[at - 1] if at else 0
        return f"{first}+" if at == len(self._cuts) else f"{first}-{self._cuts[at] - 1}"
