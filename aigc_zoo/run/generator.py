"""Saves and loads generators: one safetensors file of weights with a card, from which the generator is rebuilt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo import options, plugins
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.moves import PLACE, PLUGINS
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data.modalities import modality
from aigc_zoo.data.samples import spec_from
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.state import under
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DataError, MissingPlugin, UsageError, did_you_mean
from aigc_zoo.game import Nets, Recipe, Spec
from aigc_zoo.modality import Modality
from aigc_zoo.options.values import shown
from aigc_zoo.spec import GENERATE
from aigc_zoo.text import zoo_command

CALLED_WITH = GENERATE

DATA = ("name", "reference", "plugins", "options", "modality", "entry", "size", "split", "digest", "skipped")
"""What the card of a generator keeps of the data of its run."""

LENGTH = {"steps": 1}
"""The length of a configuration that only generates samples."""


def save_generator(path: Path, trainer: Trainer, card: Mapping[str, Any]) -> None:
    """Writes the generators, with EMA weights where there are any, and the card that rebuilds them."""
    nets = trainer.sampler(inputs=lambda rows: {}).nets  # nothing is sampled here
    generators = {name: nets[name] for name in trainer.recipe.generators if name not in trainer.frozen}
    tensors = {f"{name}.{key}": value for name, net in generators.items() for key, value in net.state_dict().items()}
    own_card = generator_card(card, trainer.step, trainer.images, trainer.progress) | {
        "generators": {name: "averaged" if name in trainer.ema else "raw" for name in generators},
        "frozen": digests_of(trainer.frozen),
    }
    checkpoint.save(path, tensors, own_card)


def generator_card(card: Mapping[str, Any], step: int, images: int, t: float) -> dict[str, Any]:
    """The card of a generator, from the card of its run."""
    data = card["data"]
    extended = [record for record in card.get("extended", []) if record["uses_t"]]  # others change no result
    records = {key: value for key, value in (("inexact", card.get("inexact")), ("extended", extended)) if value}
    extractors = ("extractor", "extractor_plugins", "loss_extractors")
    kept = ("schema", "recipe", "slots", "options", "plugins", "versions", *extractors)
    return (
        {key: card[key] for key in kept if key in card}
        | records
        | {
            "kind": "generator",
            "spec": data["spec"],
            "data": {key: data[key] for key in DATA if key in data},
            "classes": data["classes"],
            "frequencies": data["frequencies"],
            "t": t,
            "step": step,
            "images": images,
        }
    )


@dataclass(frozen=True)
class Generator:
    """A trained generator, ready to generate samples."""

    path: Path
    card: Mapping[str, Any]
    recipe: Recipe
    spec: Spec
    nets: Nets
    modality: Modality

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def weights(self) -> str:
        """`averaged` where any network has EMA weights, else `raw`."""
        return "averaged" if "averaged" in self.card["generators"].values() else "raw"

    def sampler(
        self,
        *,
        seed: int = 0,
        label: int | str | None = None,
        inputs: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
        **keywords: Any,
    ) -> Sampler:
        """A sampler whose samples depend on the seed alone; `keywords` are the recipe's own sampling options.

        `label` is the name or number of a class (see `class_index`). Raises UsageError where the generator has no such
        class or option, or where its samples do not depend on the class.
        """
        with self.explain_options():
            keywords = options.checked_call(self.recipe.generate, CALLED_WITH, keywords)
        if label is None:
            return self._sampler(seed, None, inputs, keywords)
        index = class_index(self.classes, label)
        sampler = self._sampler(seed, index, inputs, keywords)
        if len(self.classes) > 1:
            other = self._sampler(seed, int(index == 0), inputs, keywords)
            if torch.equal(sampler.chunk(0)["fake"], other.chunk(0)["fake"]):
                raise UsageError(f"--class {label}: the generator's samples do not depend on the class; leave it out")
        return sampler

    @contextmanager
    def explain_options(self) -> Iterator[None]:
        """Adds to a UsageError where the recipe's sampling options are listed."""
        try:
            yield
        except UsageError as error:
            raise UsageError(f"{error}\n{zoo_command('sample', self.path, '--help')} shows all") from None

    def _sampler(
        self,
        seed: int,
        index: int | None,
        inputs: Callable[[Tensor], Mapping[str, Tensor]] | None,
        keywords: Mapping[str, Any],
    ) -> Sampler:
        return Sampler(
            self.recipe,
            self.spec,
            self.nets,
            seed=seed,
            t=float(self.card["t"]),
            images=int(self.card["images"]),
            frequencies=self.card["frequencies"],
            label=index,
            inputs=inputs,
            options=keywords,
        )

    def sample(self, n: int = 64, *, seed: int = 0, label: int | str | None = None, **keywords: Any) -> Tensor:
        """`n` samples (n, *spec.shape) in `spec.range`, on the CPU; the first k samples do not depend on n."""
        return self.sampler(seed=seed, label=label, **keywords).samples(n)


def class_index(classes: Sequence[str], label: int | str) -> int:
    """The index of the class that `label` names, for the command line and Python alike.

    Names come first. A number is an index only where no class is called by a number: among the classes 2 and 5,
    2 is the class "2" and 0 is none. Raises UsageError where there is no such class.
    """
    if not isinstance(label, str | Real):
        raise UsageError(f"--class {shown(label)[:80]}: not the name or index of a class")
    name = str(label)
    if not classes:
        raise UsageError(f"--class {name}: this generator was trained without classes")
    if name in classes:
        return list(classes).index(name)
    numbered = any(re.fullmatch(r"[+-]?\d+(\.\d*)?", one) for one in classes)
    if not numbered and name.isdecimal() and len(name) < 10 and int(name) < len(classes):
        return int(name)
    more = f" and {len(classes) - 20:,} more" if len(classes) > 20 else ""
    raise UsageError(f"--class {name}: not one of {', '.join(classes[:20])}{more}{did_you_mean(name, classes)}")


def load_generator(catalogue: plugins.Catalogue, path: Path, *, device: torch.device | str = "cpu") -> Generator:
    """The generator of a run (that of its newest checkpoint while it is unfinished) or of a file.

    The code of its networks comes from installed plugins, never from the file. Raises DataError for a file that is
    missing, damaged or no generator, ConfigError where a plugin is missing.
    """
    tensors, card = read_generator(path)
    catalogue = remembering(catalogue, card)
    recipe = options.build(catalogue, configuration_of(catalogue, card))
    spec = spec_from(card["spec"])
    nets = build_networks(recipe, spec, seed=0)
    generators = Nets({name: nets[name] for name in recipe.generators if name not in recipe.frozen})
    for name, net in generators.items():
        try:
            net.load_state_dict(under(f"{name}.", tensors))
        except RuntimeError as error:
            raise ConfigError(
                f"{path}: its weights do not fit the network {name} of the installed {card['recipe']} "
                f"(saved by {_versions(card)}): install that version"
            ) from error
    for name in (name for name in recipe.generators if name in recipe.frozen):
        generators[name] = recipe.frozen[name]()
        if card["frozen"].get(name, "") not in ("", digest_of(generators[name])):
            raise ConfigError(f"{path}: the frozen network {name} differs from the one used in training")
    nets = generators.requires_grad_(False).eval().to(device)
    return Generator(path, card, recipe, spec, nets, modality(catalogue, spec.modality))


def configuration_of(catalogue: plugins.Catalogue, card: Mapping[str, Any]) -> options.Configuration:
    """The configuration of a card's networks. A recipe may state no length, which is not needed without training."""
    file = {key: card[key] for key in ("recipe", "slots", "options")}
    return options.resolve(catalogue, None, file=file, given=LENGTH, origin="python")


def read_generator(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the generators, named like "G.weight", and their card. `path`: a run, generator or checkpoint."""
    if path.is_dir():
        directory = RunDirectory(path)
        if directory.generator_path.exists():
            tensors, card = read_generator(directory.generator_path)
            return tensors, _with_places(card, directory)
        found = directory.newest_valid()
        if found is None:
            raise DataError(f"{path} has neither a generator.safetensors nor a checkpoint: train it first")
        tensors, card = _from_checkpoint(found[0], found[1])
        return tensors, _with_places(card, directory)
    if not path.exists():
        raise DataError(f"{path}: no such run or file")
    tensors, card = checkpoint.load(path)
    if card.get("kind") == "generator":
        return tensors, card
    if "run" in card:
        return _from_checkpoint(tensors, card)
    raise DataError(f"{path} is no generator file of aigc_zoo")


def _with_places(card: dict[str, Any], directory: RunDirectory) -> dict[str, Any]:
    """The card of a generator with the places of data and plugin files that card.json states, which follow a move."""
    try:
        run = directory.read_card() if directory.card_path.exists() else {}
    except DataError:  # a damaged card.json does not concern a generator, which has a card of its own
        return card
    places: dict[str, Any] = {key: run[key] for key in PLUGINS if key in run and key in card}
    data = run.get("data", {})
    if data.get("digest") == card["data"]["digest"]:
        places["data"] = card["data"] | {key: data[key] for key in PLACE if key in data}
    return card | places


def _from_checkpoint(
    tensors: Mapping[str, Tensor], saved: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    card = saved["run"]
    averaged = under("ema/", tensors)
    names = {name.split(".", 1)[0] for name in averaged}
    raw = {name: tensor for name, tensor in under("nets/", tensors).items() if name.split(".", 1)[0] not in names}
    own_card = generator_card(card, saved["step"], saved["images"], min(1.0, saved["step"] / card["steps"]))
    made = {"generators": dict.fromkeys(names, "averaged"), "frozen": card.get("frozen", {})}
    return raw | averaged, own_card | made


def digests_of(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """The digests of frozen networks, for cards."""
    return {name: digest_of(network) for name, network in networks.items()}


def digest_of(module: nn.Module) -> str:
    """The SHA-256 of a module's named tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def remembering(catalogue: plugins.Catalogue, card: Mapping[str, Any]) -> plugins.Catalogue:
    """The catalogue with the names of a card. Raises MissingPlugin where a package of its networks is not installed."""
    if missing := catalogue.missing(card["plugins"]):
        raise MissingPlugin(f"{card['recipe']} {'; '.join(missing)}")
    return catalogue.remembering(card)


def _versions(card: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {about['version']}" for name, about in card["plugins"].items())
