"""Checks of recipes: what the trainer, a resumed run, several ranks and whoever samples count on."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, ZooError, in_a_line
from aigc_zoo.game import Loss, Nets, all_losses
from aigc_zoo.run.recording import RecordingBatch
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.probes import (
    SEED,
    differing,
    graph_names,
    joined,
    mixes_samples,
    need,
    need_finite,
    same,
    seeded,
    shaken,
)
from aigc_zoo.testing.subjects import Part
from aigc_zoo.testing.trials import (
    BATCH,
    Trial,
    batch_of,
    critics,
    labelled,
    statistics,
    together,
    trial_of,
)


@check("R-PLAYS", needs="cpu", kinds=("recipe",))
def plays(part: Part) -> str:
    """Two steps at its defaults give finite terms."""
    trial = trial_of(part)
    trainer = trial.trainer()
    for _ in range(2):
        for name, term in trainer.train_step().items():
            need(torch.isfinite(term).all(), f"term {name} is not finite at step {trainer.step - 1}")
    need(trainer.diverged() is None, str(trainer.diverged()))
    return f"on samples of {trial.spec.shape}"


def _losses(trainer: Trainer) -> Iterator[tuple[str, Loss]]:
    """Every loss of every player, by the player's name."""
    for name, player in trainer.recipe.players.items():
        for loss in all_losses(player.loss):
            yield name, loss


def _terms(loss: Loss, nets: Nets, batch: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """What a loss says under this seed of torch's generator, with networks in the state that they are in now."""
    found: Mapping[str, Tensor] = seeded(loss, copy.deepcopy(nets), batch, seed=seed)
    return {name: term.detach() for name, term in found.items()}


def _lowered(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([term for name, term in terms.items() if not name.startswith("_")]).sum()


def _attached(trainer: Trainer) -> dict[str, Tensor]:
    """A batch whose fakes have their graph."""
    batch = dict(trainer.batch(0))
    return {**batch, **trainer.recipe.generate(trainer.nets, batch)}


@check("R-MOVES", needs="cpu", kinds=("recipe",))
def every_weight_is_moved(part: Part) -> None:
    """Every weight that a player controls gets a gradient in some turn of it."""
    trainer = trial_of(part).trainer()
    idle: dict[str, nn.Parameter] = {}
    moved: set[str] = set()
    for player in trainer.recipe.players.values():
        mine = {
            f"{net}.{key}": weight
            for net in player.controls
            for key, weight in trainer.nets[net].named_parameters()
            if weight.requires_grad
        }
        makes = bool(set(player.controls) & set(trainer.recipe.generators))
        for loss in all_losses(player.loss):
            batch = seeded(_attached, trainer) if makes else batch_of(trainer)
            lowered = _lowered(seeded(loss, trainer.nets, batch))
            found = torch.autograd.grad(lowered, list(mine.values()), allow_unused=True)
            moved |= {key for key, gradient in zip(mine, found, strict=True) if gradient is not None}
        idle |= mine
    left = sorted(idle.keys() - moved)
    need(not left, f"no loss gives a gradient to {joined(left)}: remove these weights, or let a player's loss use them")


@check("R-TURNS", needs="cpu", kinds=("recipe",))
def turns_touch_their_own(part: Part) -> None:
    """A player's turn leaves the weights of the networks that it does not control bit-equal, and their state as well,
    but for statistics of normalisation and networks that nobody controls.
    """
    trial = trial_of(part)
    everyone = {net for player in trial.recipe.players.values() for net in player.controls}
    for name, player in trial.recipe.players.items():
        trainer = trial.trainer(players=[name])
        others = Nets({net: module for net, module in trainer.nets.items() if net not in player.controls})
        before = {key: value.clone() for key, value in others.state_dict().items()}
        trainer.train_step()
        weights = {key for key, _ in others.named_parameters()}
        changed = differing(before, others.state_dict())
        moved = [key for key in changed if key in weights]
        need(not moved, f"the turn of {name} moves {joined(moved)}, which it does not control")
        free = statistics(others)
        state = [key for key in changed if key not in free and key.partition(".")[0] in everyone]
        need(not state, f"the turn of {name} changes the state {joined(state)} of a network that it does not control")


@check("R-PURE", needs="cpu", kinds=("recipe",))
def losses_draw_no_noise(part: Part) -> None:
    """A loss, and `make`, are functions of networks and batch: with dropout off they say the same twice."""
    trainer = trial_of(part).trainer()
    trainer.nets.eval()
    batch = batch_of(trainer)
    for name, loss in _losses(trainer):
        one, two = (_terms(loss, trainer.nets, batch, seed) for seed in (1, 2))
        odd = differing(one, two)
        need(not odd, f"a loss of {name} draws noise of its own ({joined(odd)} vary): take it from the batch, by draw")
    with torch.no_grad():
        one, two = (dict(seeded(trainer.recipe.generate, trainer.nets, batch, seed=seed)) for seed in (1, 2))
    odd = differing(one, two)
    need(not odd, f"make draws noise of its own ({joined(odd)} vary): take it from the batch, by draw")


@check("R-DRAW", needs="cpu", kinds=("recipe",))
def draw_is_for_the_whole_batch(part: Part) -> None:
    """`draw` depends on torch's generator and on the shapes of the batch alone, and draws a row for each sample."""
    trial = trial_of(part)
    whole = dict(trial.rows(0, BATCH))
    other = {key: torch.zeros_like(value) for key, value in whole.items()}
    one, two = (seeded(trial.recipe.draw, shown) for shown in (whole, other))
    odd = differing(dict(one), dict(two))
    need(not odd, f"{joined(odd)} depend on the values of the batch, which are placeholders: use its shapes alone")
    again = seeded(trial.recipe.draw, whole, seed=1)
    for name, value in one.items():
        need(value.ndim and len(value) == BATCH, f"{name} has shape {tuple(value.shape)}, not a row for each sample")
        need(not same(value, again[name]), f"{name} is the same whatever torch's generator says")
        need(not same(value[:1], value[1:2]), f"{name} is the same for every sample of a batch")


@check("R-PENALTY", needs="cpu", kinds=("recipe",))
def penalised_critics_keep_samples_apart(part: Part) -> None:
    """No batch normalisation is differentiated twice: a penalty on each sample's gradient means nothing under it."""
    trainer = trial_of(part).trainer()
    for name, loss in _losses(trainer):
        if name not in critics(trainer.recipe):
            continue
        batch = batch_of(trainer)
        lowered = _lowered(seeded(loss, trainer.nets, batch))
        if not any("BatchNormBackwardBackward" in node for node in graph_names(lowered)):
            continue
        for net in trainer.recipe.players[name].controls:
            # Instance normalisation runs through the same operation, and mixes nothing.
            normal = [m for m in trainer.nets[net].modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
            if normal or _mixes(trainer, net):
                raise CheckFailed(
                    f"{name} is penalised by gradients through the batch normalisation of {net}, which mixes samples: "
                    "use another norm, or none"
                )


def _mixes(trainer: Trainer, net: str) -> bool:
    real = batch_of(trainer)[trainer.recipe.imitates]
    label = batch_of(trainer).get("label")
    try:
        return mixes_samples(lambda x: trainer.nets[net](x, label).flatten(1), real)
    except Exception:  # a network that is called in another way: nothing can be said of it
        return False


@check("R-SEED", needs="cpu", kinds=("recipe",))
def runs_follow_the_seed(part: Part) -> None:
    """Same seed, same weights after two steps, bit for bit; another seed, others."""
    trial = trial_of(part)
    one, two, other = (_played(trial.trainer(seed=seed), 2) for seed in (SEED, SEED, 1))
    odd = differing(one, two)
    need(not odd, f"two runs from one seed differ in {joined(odd)}: randomness is torch's generator's alone")
    need(differing(one, other), "another seed gives the same weights")


def _played(trainer: Trainer, steps: int) -> dict[str, Tensor]:
    for _ in range(steps):
        trainer.train_step()
    return {key: value.clone() for key, value in trainer.state()[0].items()}


@check("R-RESUME", needs="cpu", kinds=("recipe",))
def resumes_bit_exactly(part: Part) -> None:
    """Four steps equal two steps, a checkpoint, another process's trainer, and two more, bit for bit."""
    trial = trial_of(part)
    straight = trial.trainer(steps=4)
    whole = _played(straight, 4)
    halfway = trial.trainer(steps=4)
    _played(halfway, 2)
    tensors, scalars = halfway.state()
    data = save({key: value.detach().contiguous().clone() for key, value in tensors.items()})
    # Another recipe of the same options: what it keeps beside its networks does not come along.
    resumed = _anew(part).trainer(steps=4)
    resumed.load(load(data), scalars)
    odd = differing(whole, _played(resumed, 2))
    need(not odd, f"after a resume {joined(odd)} differ: all state lives in weights and buffers, noise in the batch")


def _anew(part: Part) -> Trial:
    return trial_of(Part(part.catalogue, part.entry, part.api))


@check("R-SAVE", needs="cpu", kinds=("recipe",))
def networks_share_nothing(part: Part) -> None:
    """No two tensors of its networks share memory, which safetensors refuses, and averages are copies."""
    trainer = trial_of(part).trainer()
    own = Nets({name: net for name, net in trainer.nets.items() if name not in trainer.frozen})
    try:
        # What shares memory still does once it is contiguous; the trainer lays weights out its own way.
        save({name: value.contiguous() for name, value in own.state_dict().items()})
    except (RuntimeError, SafetensorError) as error:
        raise CheckFailed(f"safetensors refuses the networks: {in_a_line(error)[:300]}") from error
    theirs = {value.data_ptr() for value in own.state_dict().values() if value.numel()}
    shared = [key for key, value in trainer.ema.state_dict().items() if value.data_ptr() in theirs]
    need(not shared, f"averages share memory with what they average: {joined(shared)}")


@check("R-RANKS", needs="cpu", kinds=("recipe",))
def ranks_are_fair(part: Part) -> str:
    """Two ranks with half a batch each end with equal weights and get noise of their own; where networks keep samples
    apart they end where one rank with the whole batch does.
    """
    trial = trial_of(part)
    kept: list[dict[str, Tensor]] = []

    def play(ranks: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        trainer = trial.trainer(ranks=ranks, dtype=torch.float64, batch_size=2 * BATCH)
        noise = {key: trainer.batch(0)[key] for key in trainer.recipe.draw(dict(trial.rows(0, 2 * BATCH)))}
        for _ in range(2):
            trainer.train_step()
        kept.append(noise)
        return dict(trainer.nets.named_parameters()), noise

    (one, noise), (two, other) = together(play)
    odd = [key for key in one if not same(one[key], two[key])]
    need(not odd, f"after two steps the ranks' {joined(odd)} differ")
    for name in noise:
        need(not same(noise[name], other[name]), f"both ranks draw the same {name}")
    alone = trial.trainer(dtype=torch.float64, batch_size=2 * BATCH)
    if _noisy(alone):
        return "its networks mix samples or draw noise, so one rank and two differ by right"
    for _ in range(2):
        alone.train_step()
    far = [
        key
        for key, value in alone.nets.named_parameters()
        if not torch.allclose(value, one[key].to(value), rtol=1e-6, atol=1e-7)
    ]
    need(
        not far, f"two ranks end elsewhere than one with the whole batch ({joined(far)}): is a loss a sum, not a mean?"
    )
    return "equal to one rank with the whole batch"


def _noisy(trainer: Trainer) -> bool:
    """Whether some network, while training, looks at the whole batch or draws noise."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    if any(isinstance(module, kinds) and module.training for module in trainer.nets.modules()):
        return True
    trainer.nets.train()
    batch = batch_of(trainer)
    for _, loss in _losses(trainer):
        one, two = (_terms(loss, trainer.nets, batch, seed) for seed in (1, 2))
        if differing(one, two):
            return True
    real = batch[trainer.recipe.imitates]
    return any(_mixes(trainer, net) for net in trainer.nets if real.is_floating_point())


@check("R-LEARNS", needs="cpu", kinds=("recipe",))
def critics_learn(part: Part) -> str | None:
    """Against a generator that stands still, on one batch that can be told apart, what each critic lowers falls."""
    trial = trial_of(part)
    names = critics(trial.recipe)
    if not names:
        return "every player makes samples"
    for name in names:
        trainer = trial.trainer(players=[name], same_batch=True, steps=24)
        seen = []
        for _ in range(24):
            terms = trainer.train_step()
            seen.append(sum(float(value) for key, value in terms.items() if not key.rpartition("/")[2].startswith("_")))
        need(np.isfinite(seen).all(), f"what {name} lowers is not finite")
        early, late = sum(seen[:4]) / 4, sum(seen[-4:]) / 4
        need(
            late < early,
            f"what {name} lowers does not fall on data that can be told apart: {early:.4g}, then {late:.4g}",
        )
    return None


@check("R-SAMPLES", needs="cpu", kinds=("recipe",))
def samples_like_its_data(part: Part) -> None:
    """Samples have the data's shape, type and range, follow their seed, and neither their number nor batches of one
    change them.
    """
    trainer = trial_of(part).trainer()
    trainer.train_step()
    rows = trial_of(part).rows(0, 64)
    read = {name: rows[name] for name in trainer.recipe.inputs}

    def sampler(seed: int) -> Sampler:
        return trainer.sampler(seed=seed, inputs=(lambda indices: read) if read else None)

    made = sampler(1).samples(3)
    need(made.shape[0] == 3 and made.shape[1:] == trainer.spec.shape, f"samples have shape {tuple(made.shape)}")
    need_finite(made, "a sample")
    if trainer.spec.range is not None:
        low, high = trainer.spec.range
        slack = 1e-5 * (high - low)
        need(made.min() >= low - slack and made.max() <= high + slack, f"samples leave the range {trainer.spec.range}")
    need(same(made, sampler(1).samples(5)[:3]), "the same seed gives other samples")
    if not trainer.recipe.inputs:
        need(not torch.allclose(made, sampler(2).samples(3)), "another seed gives the same samples")
    batch = {key: value[:1] if value.ndim else value for key, value in trainer.batch(0).items()}
    with torch.no_grad():
        alone = trainer.recipe.generate(sampler(1).nets, batch)
    need(len(alone["fake"]) == 1, "of a batch of one it does not make one sample")


@check("R-LABELS", needs="cpu", kinds=("recipe",))
def conditional_games_use_labels(part: Part) -> str | None:
    """Where it reads labels they change what is made and what is judged; the switch `conditional` does what it says."""
    entry = part.entry
    switch = any(option.key == "conditional" and option.type is bool for option in _own_options(part))
    trials = [("", trial_of(part))]
    refused = ""
    if switch:
        try:
            trials.append(("with --conditional ", trial_of(part, conditional=True)))
        except (ConfigError, CheckFailed) as error:
            refused = " ".join(str(error).split())
    reads = False
    for how, trial in trials:
        if not trial.spec.classes:
            continue
        trainer = trial.trainer()
        read, differs = _labels(trainer)
        need(read or not how, "with --conditional it reads no labels")
        need(differs or not read, f"{how}it reads labels, and they make no difference to its samples")
        reads |= read
    declared = "conditional" in entry.component.tags
    need(reads or not declared, "its tags say conditional, and it reads no labels")
    if refused:
        return f"--conditional is refused with its own networks: {refused[:200]}"
    return None if reads else "it reads no labels"


def _own_options(part: Part) -> list[Any]:
    return options.options_of(part.catalogue, part.entry.id, {})


def _labels(trainer: Trainer) -> tuple[bool, bool]:
    """(whether making or any loss reads labels, whether another class makes other samples)."""
    watched = RecordingBatch(batch_of(trainer))
    with torch.no_grad():
        trainer.recipe.generate(trainer.nets, watched)
    for _, loss in _losses(trainer):
        seeded(loss, trainer.nets, watched)
    read = "label" in watched.read
    if not read:
        return False, False
    nets = Nets({name: shaken(net, 0.3) for name, net in trainer.nets.items()}).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        made = [trainer.recipe.generate(nets, labelled(trainer, label))["fake"] for label in (0, 1)]
    return True, not torch.allclose(made[0], made[1])


@check("R-CARD", needs="cpu", kinds=("recipe",))
def card_rebuilds_it(part: Part) -> None:
    """Its card, through JSON, gives an equal configuration, and that the same networks, bit for bit."""
    trial = trial_of(part)
    chosen = options.resolve(part.catalogue, part.reference)
    card = json.loads(json.dumps(chosen.card()))
    again = options.resolve(part.catalogue, None, file=card)
    need(again.card() == chosen.card(), "its card read back is another configuration")
    one = build_networks(options.build(part.catalogue, chosen), trial.spec, SEED).state_dict()
    two = build_networks(options.build(part.catalogue, again), trial.spec, SEED).state_dict()
    odd = differing(one, two)
    need(not odd, f"the networks that its card builds differ in {joined(odd)}")


@check("R-RUN", needs="cpu", kinds=("recipe",))
def trains_from_beginning_to_end(part: Part) -> str:
    """`zoo train` for two steps: a run folder, a checkpoint, a generator file that is read back and sampled."""
    from aigc_zoo.run.generator import load_generator
    from aigc_zoo.run.loop import train
    from aigc_zoo.run.prepare import prepare

    trial = trial_of(part)
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as name:
        folder = Path(name)
        given: dict[str, Any] = {"steps": 2, "batch_size": BATCH, "device": "cpu", "eval_every": 10**6}
        if trial.recipe.imitates == "real" and not trial.recipe.inputs:
            given["data"] = str(_stored(folder, trial))
        configuration = options.resolve(part.catalogue, part.reference, given=given)
        try:
            result = train(prepare(part.catalogue, configuration), folder / "run")
        except ZooError as error:
            raise CheckFailed(f"a run of two steps ends with: {' '.join(str(error).split())}") from error
        need(result.step == 2, f"a run of two steps ends at step {result.step}")
        generator = load_generator(part.catalogue, folder / "run")
        if generator.recipe.inputs:
            return f"{result.step} steps of {BATCH}"
        need_finite(generator.sample(2), "a sample of the generator that was saved")
    return f"{result.step} steps of {BATCH}"


def _stored(folder: Path, trial: Trial) -> Path:
    """The trial's data as a file that `--data` takes."""
    batch = trial.rows(0, 16)
    real = batch["real"].numpy()
    values: dict[str, Any] = {"labels": batch["label"].argmax(1).numpy()} if "label" in batch else {}
    if real.ndim == 4:
        low, high = trial.spec.range or (-1.0, 1.0)
        real = np.moveaxis(((real - low) / (high - low) * 255).round().astype(np.uint8), 1, -1)
        values["images"] = real
    else:
        values["data"] = real
    path = folder / "probe.npz"
    np.savez(path, **values)
    return path
