"""Where a loop pulls a composition, and how fast: a first-order chain on readings, and tests that must not reject it.

The transition matrix is Σ counts / Σ departures over seeds. Everything made of it is linearised in what each seed adds
(`Fit.influence`), so that whole seeds vary, with all their replicates and rounds; cohorts where seeds are coupled.

A chain can be fitted to anything. Seeds that differ in speed, and instruments that err at random, look like one chain that
mixes faster than the slow ones do; seeds pulled to different compositions at one speed, like one that mixes slower. So an
attractor is shown only where nothing of the past but the last reading tells of the future (`order_test`), a fit to the early
rounds predicts the late ones (`late_test`) and steps do not change over the rounds (`homogeneity_test`). The last kind of
mixture is hard to tell from a chain: the gate stopped it in .11, .19 and .41 of trials with 30, 100 and 300 seeds
(`scripts/validate_statistics --sections dynamics`); its composition is right, its half-life too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from driftloop.statistics.intervals import share_limits
from driftloop.statistics.joint import hotelling
from driftloop.statistics.moments import Moments, summed
from driftloop.statistics.panel import Bools, Floats, Ints
from driftloop.statistics.tests import quadratic_form

MIN_STEPS = 4
GATE_LEVEL = 0.05
NAN = float("nan")
SHOWN = "shown"
NOT_FIRST_ORDER = "not first order"
NOT_PREDICTED = "late rounds not predicted"
NOT_ALIKE = "not the same in all rounds"
TOO_FEW_SEEDS = "too few seeds"
TOO_FEW_ROUNDS = "too few rounds"
NOT_IDENTIFIABLE = "not identifiable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """Readings of consecutive rounds as numbers of states [n_seeds, n_replicates, n_rounds]; -1 is unread.

    `blocks` [n_seeds]: each block has a matrix of its own (the concept of a seed, where it is taken as kept). `units`
    [n_seeds] number what is independent. `features` [n_states, m] are what tests look at: the share of each attribute
    category, and of each concept where the state holds the concept that was read.
    """

    states: Ints
    blocks: Ints
    units: Ints
    features: Floats

    @property
    def steps(self) -> int:
        return int(self.states.shape[2]) - 1

    @property
    def n_states(self) -> int:
        return len(self.features)

    @property
    def n_blocks(self) -> int:
        return int(self.blocks.max(initial=-1)) + 1

    def until(self, round_: int) -> Chains:
        """The rounds up to this one."""
        return replace(self, states=self.states[:, :, : round_ + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Transition matrices [n_blocks, n_states, n_states] with what each seed adds to the error of its own block's
    [n_seeds, n_states, n_states].

    `left` [n_blocks, n_states] counts departures; a state nobody was seen to leave has the block's mean row, so that it is
    passed through. `largest` is the largest part of all transitions that a unit has. `identified`: every block has
    transitions from one state to another, and one closed class of states.
    """

    matrices: Floats
    influence: Floats
    left: Floats
    largest: float
    identified: bool


class Estimate(NamedTuple):
    """Values with their limits, any shape."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """The stationary distribution of every block [n_blocks, n_states], what each seed adds to the error of its own block's
    [n_seeds, n_states], and the fundamental matrices [n_blocks, n_states, n_states]."""

    stationary: Floats
    influence: Floats
    fundamental: Floats


class Retention(NamedTuple):
    """κ with what each seed adds to its error [n_seeds], see `retention`."""

    value: float
    influence: Floats


def counted_steps(chains: Chains) -> Floats:
    """Transitions of every seed [n_seeds, n_states, n_states] between consecutive rounds that were both read."""
    n, size = len(chains.states), chains.n_states
    before, after = chains.states[:, :, :-1], chains.states[:, :, 1:]
    seed, *place = np.nonzero((before >= 0) & (after >= 0))
    cell = (seed * size + before[seed, *place]) * size + after[seed, *place]
    return np.bincount(cell, minlength=n * size * size).reshape(n, size, size).astype(np.float64)


def fit(chains: Chains) -> Fit:
    """The matrices by maximum likelihood, Σ counts / Σ departures over the seeds of a block (Anderson and Goodman 1957,
    Ann. Math. Stat. 28:89)."""
    counts, size = counted_steps(chains), chains.n_states
    total = summed(counts.reshape(len(counts), -1), chains.blocks, chains.n_blocks).reshape(-1, size, size)
    left, entered = total.sum(axis=2), total.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = total / left[:, :, None]
        mean = np.nan_to_num(entered / entered.sum(axis=1, keepdims=True), nan=1 / size)[:, None, :]
    matrices = np.where(left[:, :, None] > 0, rows, mean)
    own = matrices[chains.blocks]
    influence = (counts - counts.sum(axis=2, keepdims=True) * own) / np.maximum(left, 1)[chains.blocks][:, :, None]
    return Fit(
        matrices=matrices,
        influence=influence,
        left=left,
        largest=float(_of_units(chains, counts.sum(axis=(1, 2))).max(initial=0.0) / max(left.sum(), 1.0)),
        identified=bool((total * (1 - np.eye(size))).any(axis=(1, 2)).all() and _one_class(matrices > 0).all()),
    )


def _one_class(linked: Bools) -> Bools:
    """Whether each graph [n_blocks, n_states, n_states] has one closed class: [n_blocks]."""
    reached: Bools = np.logical_or(linked, np.eye(linked.shape[-1], dtype=np.bool_))
    for _ in range(linked.shape[-1].bit_length()):
        reached = np.matmul(reached, reached)
    recurrent: Bools = np.all(~reached | np.swapaxes(reached, 1, 2), axis=2)
    apart = recurrent[:, :, None] & recurrent[:, None, :] & ~reached
    return np.asarray(~apart.any(axis=(1, 2)))


def pull(chains: Chains, fitted: Fit) -> Pull:
    """Stationary distributions; their errors by dπ = π dP Z with the fundamental matrix Z (Schweitzer 1968, J. Appl. Prob.
    5:401)."""
    size = chains.n_states
    away = np.eye(size) - fitted.matrices
    ones = np.ones((chains.n_blocks, size, 1))
    stationary: Floats = np.linalg.solve(np.swapaxes(away, 1, 2) + 1.0, ones)[:, :, 0].astype(np.float64)
    fundamental: Floats = np.linalg.inv(away + stationary[:, None, :]).astype(np.float64)
    moved = np.einsum("nj,njk->nk", stationary[chains.blocks], fitted.influence)
    return Pull(
        stationary=stationary,
        influence=np.einsum("nk,nkl->nl", moved, fundamental[chains.blocks]),
        fundamental=fundamental,
    )


def attractor(chains: Chains, fitted: Fit, pulled: Pull, part: Floats, *, alike: bool = False, level: float = 0.95) -> Estimate:
    """The composition [K] that is approached. `part` [n_states, K] says which states count for which category: what they
    hold of the stationary distribution, divided by all of it; so states of one concept give the composition given it.

    Blocks are weighted by their seeds, who vary like all else, or alike. The limits are `intervals.share_limits`, with one
    more event as large as the largest part of all transitions that a unit has, or as one independent draw of the chain
    (of T (1 - κ) / (1 + κ), κ of `retention`) where that is more.
    """
    mass, whole = pulled.stationary @ part, (pulled.stationary @ part).sum(axis=1, keepdims=True)
    if not (whole > 0).all():
        return Estimate(*np.full((3, part.shape[1]), NAN))
    shares = mass / whole
    moved = pulled.influence @ part
    own = (moved - shares[chains.blocks] * moved.sum(axis=1, keepdims=True)) / whole[chains.blocks]
    value, influence = _mixed(chains, shares, own, alike=alike)
    kept = max(np.nan_to_num(retention(chains, fitted, pulled, alike=alike).value), 0.0)
    draws = max(fitted.left.sum() * (1 - kept) / (1 + kept), 1.0)
    step = min(max(fitted.largest, 1 / draws) / float(whole.min()), 1.0)
    return Estimate(value, *share_limits(_moments(chains, value, influence, step), level))


def retention(chains: Chains, fitted: Fit, pulled: Pull, *, alike: bool = False) -> Retention:
    """κ, how far readings of consecutive rounds agree beyond chance once the composition is reached, and what each seed
    adds to its error [n_seeds].

    κ = Σ π_k (P_kk - π_k) / Σ π_k (1 - π_k), Cohen's kappa of neighbouring rounds within blocks. It is the eigenvalue of a
    matrix of two states, and 1 - q of any number of states where each step keeps the state or, with chance q, draws it
    from π. The second-largest of several estimated eigenvalues is no substitute: it is biased upwards, since the largest
    of noisy numbers is (by .06 for 40 seeds, 8 rounds and 5 states that all have the eigenvalue .7).
    """
    share, stays = pulled.stationary, np.diagonal(fitted.matrices, axis1=1, axis2=2)
    agree, chance = (share * (stays - share)).sum(axis=1), (share * (1 - share)).sum(axis=1)
    own = share[chains.blocks]
    diagonal = np.diagonal(fitted.influence, axis1=1, axis2=2)
    more = (pulled.influence * (stays[chains.blocks] - 2 * own) + own * diagonal).sum(axis=1)
    less = -2 * (own * pulled.influence).sum(axis=1)
    both, influence = _mixed(chains, np.stack([agree, chance], axis=1), np.stack([more, less], axis=1), alike=alike)
    if both[1] <= 1e-12:
        return Retention(NAN, np.full(len(influence), NAN))
    kept = float(both[0] / both[1])
    return Retention(kept, (influence[:, 0] - kept * influence[:, 1]) / both[1])


def half_life(chains: Chains, fitted: Fit, kept: Retention, level: float = 0.95) -> Estimate:
    """Rounds until half of what a chain started with is forgotten, ln ½ / ln κ; NaN where κ is not above 0.

    The limits are those of 1 - κ as a share of chains drawn anew. Infinite where none may have been.
    """
    if not kept.value > 0:
        return Estimate(*np.full((3, 1), NAN))
    anew = np.array([1 - kept.value])
    low, high = share_limits(_moments(chains, anew, kept.influence[:, None], fitted.largest), level)
    return Estimate(halved(anew), halved(high), halved(low))


def slowest_half_life(fitted: Fit) -> float:
    """From the second-largest eigenvalue modulus of any block: the part of a composition that fades last, see `retention`.

    NaN where a block forgets everything in one step.
    """
    moduli = np.sort(np.abs(np.linalg.eigvals(fitted.matrices)), axis=1)
    return float(halved(1 - moduli[:, -2]).max()) if moduli.shape[1] > 1 else NAN


def halved(anew: Floats) -> Floats:
    """Half-life in rounds where each round draws this share anew: 0 from 1 on, infinite at 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(0.5) / np.log1p(-np.clip(anew, 0.0, 1.0))) + 0.0


def transition_limits(chains: Chains, fitted: Fit, level: float = 0.95) -> Estimate:
    """The matrix of one block [n_states, n_states] with limits; NaN in rows of states nobody was seen to leave.

    An unseen event is as large as the largest part of a state's departures that a unit has.
    """
    size, counts = chains.n_states, counted_steps(chains).sum(axis=2)
    [left] = fitted.left
    largest = _of_units(chains, counts).max(axis=0) / np.maximum(left, 1)
    value = np.where(left[:, None] > 0, fitted.matrices[0], NAN).ravel()
    told = _moments(chains, value, fitted.influence.reshape(len(counts), -1), np.repeat(np.maximum(largest, 1e-9), size))
    found = Estimate(value, *share_limits(told, level))
    return Estimate(*(part.reshape(size, size) for part in found))


def _mixed(chains: Chains, values: Floats, own: Floats, *, alike: bool) -> tuple[Floats, Floats]:
    """Mean over blocks of `values` [n_blocks, m] and what each seed adds to its error, from what it adds to that of its own
    block [n_seeds, m]."""
    n, blocks = len(chains.blocks), chains.blocks
    if alike:
        return values.mean(axis=0), own / chains.n_blocks
    weights = np.bincount(blocks, minlength=chains.n_blocks) / n
    mean = weights @ values
    return mean, own * weights[blocks][:, None] + (values[blocks] - mean) / n


def _moments(chains: Chains, value: Floats, influence: Floats, step: Floats | float) -> Moments:
    """Values [m] with their variance over units."""
    totals = _of_units(chains, influence)
    n_units = len(totals)
    spread = (totals**2).sum(axis=0) * n_units / max(n_units - 1, 1)
    return Moments(
        n=np.full(value.shape, len(influence)),
        mean=np.clip(value, 0.0, 1.0),
        variance=spread if n_units > 1 else np.full(value.shape, NAN),
        step=np.broadcast_to(np.asarray(step, np.float64), value.shape),
        dof=np.full(value.shape, max(n_units - 1.0, 1.0)),
    )


def _of_units(chains: Chains, values: Floats) -> Floats:
    """Sums within units of values by seed [n_seeds, ...]: [n_units, ...]."""
    n_units = int(chains.units.max()) + 1
    return values if n_units == len(values) else _sums(values, chains.units, n_units)


def _sums(values: Floats, codes: Ints, n_codes: int) -> Floats:
    """As `moments.summed`, of any shape [n, ...]."""
    return summed(values.reshape(codes.size, -1), codes, n_codes).reshape(n_codes, *values.shape[1:])


# Tests


def order_test(chains: Chains) -> float:
    """p-value of "the last reading is all of the past that matters", against memory of the reading before and of all before.

    Strata are the chains of a block that are in one state at one round. Within them the next state has nothing to do with
    the past of a first-order chain, homogeneous or not: the generalised Mantel-Haenszel test of X_(t-1) with X_(t+1) given
    (t, X_t) (Mantel 1963, J. Am. Stat. Assoc. 58:690; Landis, Heyman and Koch 1978, Int. Stat. Rev. 46:237), for two states
    the score test of first against second order (Anderson and Goodman 1957, §4). Two departures: beside the state before,
    the mean of all rounds before is held against the next state; and each is one number, how often a chain returns to where
    it was, over all categories: unlike seeds and random errors both return too often, and the
    (K - 1)² cells of each are too many to find that in.

    The statistic is referred to F(2, units - 2), its limit being chi-square: few seeds reject too often without. The
    covariance is that of next states dealt out anew within strata. Rounds add up, for given the past each is a fresh
    draw (a martingale), and so are replicates of a seed: what seeds have in common beyond their state is memory, and what
    the test is after. The empirical covariance over seeds rejects up to .20 at .05 here: where returns are rare and none was
    seen, it is as good as 0.
    """
    shown, now = _shown(chains), chains.states[:, :, 1:-1]
    past, future = np.stack([shown[:, :, :-2], _means_before(shown)[:, :, 1:-1]], axis=4), shown[:, :, 2:]
    seed, replicate, round_ = np.nonzero((now >= 0) & np.isfinite(past).all(axis=(3, 4)) & np.isfinite(future).all(axis=3))
    stratum = (chains.blocks[seed] * chains.n_states + now[seed, replicate, round_]) * chains.steps + round_
    statistic, dof = _dealt_anew(past[seed, replicate, round_], future[seed, replicate, round_], stratum)
    others = int(chains.units.max()) + 1 - dof
    return float(special.fdtrc(dof, others, statistic / dof)) if dof and others > 0 else NAN


def _dealt_anew(past: Floats, future: Floats, stratum: Ints) -> tuple[float, int]:
    """The agreement Σ past · future, by column of `past` [N, m, c], against `future` [N, m] dealt out anew within strata: a
    chi-square statistic with its degrees of freedom, 0 where no deal would change anything."""
    if not stratum.size:
        return NAN, 0
    before, after = (_centred(part, stratum) for part in (past, future))
    agreement = np.einsum("nmc,nm->c", before, after)
    sizes = np.bincount(stratum)
    spread = _sums(after[:, :, None] * after[:, None, :], stratum, sizes.size) / np.maximum(sizes - 1, 1)[:, None, None]
    covariance = np.einsum("nmc,nml,nld->cd", before, spread[stratum], before, optimize=True)
    statistic, dof = quadratic_form(agreement, covariance)
    return float(statistic), dof


def _shown(chains: Chains) -> Floats:
    """Features of every reading [n_seeds, n_replicates, n_rounds, m], NaN where unread."""
    return np.where(chains.states[..., None] >= 0, chains.features[chains.states], NAN)


def _means_before(shown: Floats) -> Floats:
    """Mean over the rounds before each that were read, in its shape; NaN where none was."""
    read = np.isfinite(shown)
    total, number = np.cumsum(np.where(read, shown, 0.0), axis=2), np.cumsum(read, axis=2)
    means = np.full(shown.shape, NAN)
    np.divide(total[:, :, :-1], number[:, :, :-1], out=means[:, :, 1:], where=number[:, :, :-1] > 0)
    return means


def homogeneity_test(chains: Chains) -> float:
    """p-value of "every step has the same matrix", against next states that shift with the number of the round.

    The score of a linear trend in the departures from each state (Anderson and Goodman 1957, §3.2, with one degree of
    freedom a category and not one a cell and round), summed over states, with the covariance of clusters.
    """
    number = np.arange(chains.steps, dtype=np.float64)
    before, after = chains.states[:, :, :-1], chains.states[:, :, 1:]
    seed, replicate, round_ = np.nonzero((before >= 0) & (after >= 0))
    stratum = chains.blocks[seed] * chains.n_states + before[seed, replicate, round_]
    when = _centred(number[round_][:, None], stratum)
    found = when * _centred(chains.features[after[seed, replicate, round_]], stratum)
    return _zero_mean(chains, summed(found, seed, len(before)))


def late_test(chains: Chains) -> float:
    """p-value of "the matrix of the first half of the steps predicts the composition of the later rounds".

    From its state in the middle each chain is carried on by powers of the early matrix, but for states that no one was seen
    to leave so far; tested is the mean difference to what was read, over the late rounds, jointly over categories
    (`joint.hotelling`). The error of the early matrix is part of what each seed adds.
    """
    middle = chains.steps // 2
    fitted = fit(chains.until(middle))
    ahead = [np.broadcast_to(chains.features, (chains.n_blocks, *chains.features.shape))]
    for _ in range(chains.steps - middle):
        ahead.append(fitted.matrices @ ahead[-1])
    start, later = chains.states[:, :, middle], chains.states[:, :, middle + 1 :]
    known = (start >= 0) & (fitted.left[chains.blocks[:, None], start] > 0)
    seed, replicate, after = np.nonzero(known[:, :, None] & (later >= 0))
    place = (after, chains.blocks[seed], start[seed, replicate])
    gaps = chains.features[later[seed, replicate, after]] - np.stack(ahead[1:])[place]
    shape = (len(ahead) - 1, chains.n_blocks, chains.n_states)
    starts = np.bincount(np.ravel_multi_index(place, shape), minlength=int(np.prod(shape))).reshape(shape)
    weights = _sensitivity(fitted.matrices, starts.astype(np.float64), ahead)
    error = np.einsum("njk,njkf->nf", fitted.influence, weights[chains.blocks])
    return _zero_mean(chains, summed(gaps, seed, len(start)) - error)


def _sensitivity(matrices: Floats, starts: Floats, ahead: Sequence[Floats]) -> Floats:
    """How Σ_h starts_h · P^h · features moves with each cell of P: [n_blocks, n_states, n_states, m].

    `starts` [H, n_blocks, n_states] for h = 1 to H, `ahead` P^h · features for h = 0 to H.
    """
    reaching, found = np.zeros(starts.shape[1:]), 0.0
    for start, after in zip(starts[::-1], ahead[-2::-1], strict=True):
        reaching = start + np.einsum("bi,bij->bj", reaching, matrices)
        found = found + reaching[:, :, None, None] * after[:, None]
    return np.asarray(found)


def _centred(values: Floats, stratum: Ints) -> Floats:
    """Values [N, ...] minus the mean of their stratum."""
    sizes = np.bincount(stratum)
    means = _sums(values, stratum, sizes.size) / np.maximum(sizes, 1).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values - means[stratum])


def _zero_mean(chains: Chains, scores: Floats) -> float:
    """Hotelling's test over units of scores [n_seeds, m]; NaN where it cannot tell."""
    return hotelling(_of_units(chains, scores)).p_value


# The gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """What `status` says may be shown. Estimates stand there wherever they can be had, p-values are NaN where a test cannot
    tell. `attractor` has one entry a category, `half_life` one."""

    n_seeds: int
    attractor: Estimate
    half_life: Estimate
    slowest: float
    p_order: float
    p_late: float
    p_homogeneous: float
    status: str


def dynamics(chains: Chains, part: Floats, *, alike: bool = False, level: float = 0.95, min_seeds: int = 2) -> Dynamics:
    """Attractor and half-life behind their gate, `status`. `part` [n_states, K] as of `attractor`.

    Where nobody moved, or chains end in sets of states that do not meet, no composition is approached by all.
    """
    chains = travelled(chains)
    n_seeds = len(chains.states)
    if chains.steps < MIN_STEPS or n_seeds < 2:
        return _nothing(n_seeds, part.shape[1], TOO_FEW_ROUNDS if chains.steps < MIN_STEPS else TOO_FEW_SEEDS)
    fitted = fit(chains)
    if not fitted.identified:
        return _nothing(n_seeds, part.shape[1], NOT_IDENTIFIABLE)
    pulled, p_values = pull(chains, fitted), (order_test(chains), late_test(chains), homogeneity_test(chains))
    return Dynamics(
        n_seeds=n_seeds,
        attractor=attractor(chains, fitted, pulled, part, alike=alike, level=level),
        half_life=half_life(chains, fitted, retention(chains, fitted, pulled, alike=alike), level),
        slowest=slowest_half_life(fitted),
        p_order=p_values[0],
        p_late=p_values[1],
        p_homogeneous=p_values[2],
        status=gate(*p_values) if n_seeds >= min_seeds else TOO_FEW_SEEDS,
    )


def gate(p_order: float, p_late: float, p_homogeneous: float) -> str:
    """Shown only where the tests could tell and none rejects: a test that cannot tell lets nothing through."""
    verdicts = ((p_order, NOT_FIRST_ORDER), (p_late, NOT_PREDICTED), (p_homogeneous, NOT_ALIKE))
    rejected = [status for p_value, status in verdicts if p_value <= GATE_LEVEL]
    told = all(np.isfinite(p_value) for p_value, _ in verdicts)
    return next(iter(rejected), SHOWN if told else TOO_FEW_SEEDS)


def travelled(chains: Chains) -> Chains:
    """The seeds of which at least one step was read, with blocks and units numbered anew."""
    read = chains.states >= 0
    some = (read[:, :, :-1] & read[:, :, 1:]).any(axis=(1, 2))
    blocks, units = (np.unique(codes[some], return_inverse=True)[1] for codes in (chains.blocks, chains.units))
    return replace(chains, states=chains.states[some], blocks=blocks.astype(np.intp), units=units.astype(np.intp))


def _nothing(n_seeds: int, n_categories: int, status: str) -> Dynamics:
    return Dynamics(
        n_seeds=n_seeds,
        attractor=Estimate(*np.full((3, n_categories), NAN)),
        half_life=Estimate(*np.full((3, 1), NAN)),
        slowest=NAN,
        p_order=NAN,
        p_late=NAN,
        p_homogeneous=NAN,
        status=status,
    )
