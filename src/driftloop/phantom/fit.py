"""Does a run in the built-in world follow the closed form, in all rounds at once, and would we have noticed if not?

Two readings of every seed and round are compared with what the closed form expects, see `statistics.joint`: the label it
started with, which a wrong omission moves, and the label that silent captions of its concept show most, which a wrong
prior moves; over all concepts, plain shares would cancel. The power of the test is stated by hypotheses it should reject.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from driftloop.phantom.truth import STATES, CardForm, ClosedForm, person_numbers
from driftloop.phantom.world import CATEGORIES, CONDITION, Row
from driftloop.statistics.joint import hotelling, hotelling_power, independent

if TYPE_CHECKING:
    from driftloop.analysis.material import Material
    from driftloop.statistics.panel import Floats, Ints

COLUMNS = ["run", "attribute", "hypothesis", "n_seeds", "columns", "statistic", "p_value", "power"]


FEWEST = 10
"""Seeds that must differ from the rest in a column: below, its variance is too poorly known to weigh it."""


@dataclass(frozen=True)
class Watched:
    """Categories watched per seed and how often they are read: attribute -> [n_seeds, 2] and [n_seeds, rounds, 2].

    `people` [n_seeds, 420] marks the person that each seed shows. Rounds are from 1 on.
    """

    categories: Mapping[str, Ints]
    shares: Mapping[str, Floats]
    people: Floats


class ClosedFormFit:
    """The table `closed_form`: per attribute, and over all, the joint test of the card's closed form and of wrong ones.

    `power` is the chance that as many seeds reject a hypothesis when the card is right, from the noncentral F with the
    covariance found in the run. Options as of `CardForm`; where that knows nothing there is no table. `error` is how wrong
    those are: omission that much lower or higher, that much of a prior moved from its largest category to its
    smallest.
    """

    def __init__(
        self, *, omission: float = 0.0, guidance: float | None = None, generator: str | None = None, error: float = 0.1
    ) -> None:
        self.omission, self.guidance, self.generator, self.error = omission, guidance, generator, error

    def tables(self, material: Material) -> dict[str, pd.DataFrame]:
        forms = self._forms()
        watched = watch(material, self._prior) if forms else None
        if watched is None:
            return {}
        families = [*([name] for name in watched.shares), list(watched.shares)]
        rows = [row for attributes in families for row in _rows(forms, attributes, watched)]
        return {"closed_form": pd.DataFrame(rows).assign(run=material.store.run_id)[COLUMNS]}

    @cached_property
    def _card(self) -> CardForm:
        return CardForm(omission=self.omission, guidance=self.guidance, generator=self.generator)

    @cached_property
    def _prior(self) -> dict[str, dict[str, Row]]:
        return self._card.silent()

    def _forms(self) -> dict[str, ClosedForm]:
        """Hypothesis -> closed form, the card's first."""
        lower, higher = max(0.0, self.omission - self.error), min(1.0, self.omission + self.error)
        right = self._card.form()
        if right is None:
            return {}
        moved = {name: {k: _moved(row, self.error) for k, row in table.items()} for name, table in self._prior.items()}
        false = {
            **{f"omission {rate:g}": self._card.form(omission=rate) for rate in (lower, higher) if rate != self.omission},
            f"prior off by {self.error:g}": self._card.form(prior=moved),
        }
        return {"card": right} | {name: form for name, form in false.items() if form is not None}


def _moved(row: Sequence[float], off: float) -> Row:
    """`row` with `off` moved from its largest entry to its smallest."""
    values = np.array(row, float)
    amount = min(off, values.max())
    values[values.argmax()] -= amount
    values[values.argmin()] += amount
    return tuple(values.tolist())


def watch(material: Material, prior: Mapping[str, Mapping[str, Row]]) -> Watched | None:
    """From the readings of the first instrument of each attribute; None where seeds have no labels of this world.

    Seeds that lack a reading of some round are left out.
    """
    records: list[dict[str, Any]] = material.seeds.to_dict("records")  # type: ignore[assignment] # columns have names
    numbers = person_numbers(records)
    if numbers is None:
        return None
    categories = {name: np.array([_watched(record, name, table) for record in records]) for name, table in prior.items()}
    shares = {name: _shares(material, name, records, wanted) for name, wanted in categories.items()}
    found = {name: share for name, share in shares.items() if share is not None}
    whole = np.logical_and.reduce([np.isfinite(share).all(axis=(1, 2)) for share in found.values()])
    return Watched(
        {name: categories[name][whole] for name in found},
        {name: share[whole] for name, share in found.items()},
        np.eye(len(STATES))[numbers[whole]],
    )


def _watched(record: Mapping[str, Any], attribute: str, prior: Mapping[str, Row]) -> tuple[int, int]:
    """The starting label, and what silent captions of the seed's concept show most."""
    row = prior[record[f"label_{CONDITION[attribute]}"]]
    return CATEGORIES[attribute].index(record[f"label_{attribute}"]), int(np.argmax(row))


def _shares(material: Material, attribute: str, seeds: Sequence[Mapping[str, Any]], wanted: Ints) -> Floats | None:
    """[n_seeds, rounds, 2], NaN where a seed has no reading at a round; None where no instrument reads the attribute."""
    instrument = next((one for one in material.instruments if attribute in one.categories), None)
    if instrument is None:
        return None
    read = material.readings_of(instrument)
    read = read[(read["attribute"] == attribute) & (read["round"] > 0)]
    names = pd.Index([str(seed["seed_id"]) for seed in seeds])
    code = pd.Index(CATEGORIES[attribute]).get_indexer(pd.Index(read["label"].astype(object)))
    hits = (code[:, None] == wanted[names.get_indexer(pd.Index(read["seed_id"].astype(str)))]).astype(float)
    columns = [
        read.assign(hit=hit).pivot_table(index="seed_id", columns="round", values="hit", observed=True) for hit in hits.T
    ]
    return np.stack([column.reindex(names).to_numpy(float) for column in columns], axis=2)


def _rows(forms: Mapping[str, ClosedForm], attributes: Sequence[str], watched: Watched) -> Iterator[dict[str, Any]]:
    found = np.concatenate([watched.shares[name].reshape(len(watched.people), -1) for name in attributes], axis=1)
    varied = np.minimum((found > 0).sum(axis=0), (found < 1).sum(axis=0)) >= FEWEST
    expected = {hypothesis: _expected(form, attributes, watched)[:, varied] for hypothesis, form in forms.items()}
    [right, *_] = expected.values()
    for hypothesis, chances in expected.items():
        residuals = found[:, varied] - chances
        test = hotelling(residuals)
        yield {
            "attribute": attributes[0] if len(attributes) == 1 else "all",
            "hypothesis": hypothesis,
            "n_seeds": test.n,
            "columns": test.columns,
            "statistic": test.statistic,
            "p_value": test.p_value,
            "power": float("nan") if chances is right else _power(residuals, right - chances),
        }


def _expected(form: ClosedForm, attributes: Sequence[str], watched: Watched) -> Floats:
    """Chances of the watched categories, [n_seeds, attributes × rounds × 2]."""
    [rounds] = {share.shape[1] for share in watched.shares.values()}
    chances = form.expected(watched.people, rounds)
    own = [np.take_along_axis(chances[name][:, 1:], watched.categories[name][:, None], axis=2) for name in attributes]
    return np.concatenate([part.reshape(len(part), -1) for part in own], axis=1)


def _power(residuals: Floats, gap: Floats) -> float:
    """Of rejecting a hypothesis whose expectations are off by `gap`, both [n_seeds, columns]."""
    chosen = independent(residuals)
    if not chosen.any():
        return float("nan")
    covariance = np.atleast_2d(np.cov(residuals[:, chosen], rowvar=False))
    return hotelling_power(gap[:, chosen].mean(axis=0), covariance, len(residuals))
