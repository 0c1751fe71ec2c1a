"""Planted faults in components: each fails the check that tests for it, and a plugin without faults passes all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_zoo.discovery import Manager
from aigc_zoo.plugins import Catalogue
from aigc_zoo.testing.runner import cases_of, run_check

CONFORMING = Path(__file__).with_name("conforming.py").read_text(encoding="utf-8")


def failures(path: Path, name: str = "") -> dict[str, dict[str, str]]:
    """The failed CPU checks of the plugin in a file, or of its components `name`: subject -> check -> reason."""
    manager = Manager()
    manager.load_setuptools_entrypoints()
    manager.load_file(path)
    failed: dict[str, dict[str, str]] = {}
    for case in cases_of(Catalogue(manager), f"local/{name}" if name else path.name, tiers=("cpu",)):
        result = run_check(case)
        if result.bad:
            failed.setdefault(result.subject, {})[result.check] = result.reason
    return failed


# fault -> (replacements in the conforming plugin, subject at fault, failing checks with a part of their reasons)
FAULTS = {
    "the generator ignores the seed": (
        [
            ("import math\n", "import math\nimport random\n"),
            ("(self.gain * x).view", "(self.gain * x + random.random()).view"),
        ],
        "generator gen",
        {"G-SEED": "the same seed and z give other samples"},
    ),
    "initial weights ignore the seed": (
        [
            (
                "self.outer = nn.Linear(width, 1)\n",
                "self.outer = nn.Linear(width, 1)\n"
                "        nn.init.normal_(self.outer.weight, generator=torch.Generator().manual_seed(id(self)))\n",
            )
        ],
        "discriminator dis",
        {"D-SEED": "built twice with one seed"},
    ),
    "samples leave the range": (
        [("low + (high - low) * torch.sigmoid(x)", "2 * torch.sigmoid(x) - 1")],
        "generator gen",
        {"G-RANGE": "rescale them"},
    ),
    "the discriminator ends in a sigmoid": (
        [("self.outer(torch.nn.functional.softplus(h))", "self.outer(torch.nn.functional.softplus(h)).sigmoid()")],
        "discriminator dis",
        {"D-LOGITS": "remove the final sigmoid"},
    ),
    "an unused weight": (
        [("self.outer = nn.Linear(width, 1)\n", "self.outer, self.spare = nn.Linear(width, 1), nn.Linear(2, 2)\n")],
        "discriminator dis",
        {"C-GRADIENT": "no gradient reaches spare"},
    ),
    "a weight that no player trains": (
        [("self.outer = nn.Linear(width, 1)\n", "self.outer, self.spare = nn.Linear(width, 1), nn.Linear(2, 2)\n")],
        "recipe own",
        {"R-MOVES": "D.spare.weight"},
    ),
    "a network ignores its labels": (
        [("torch.cat((z, label), 1)", "torch.cat((z, 0 * label), 1)")],
        "generator gen",
        {"C-LABEL": "labels make no difference"},
    ),
    "a conditional recipe ignores its labels": (
        [("torch.cat((z, label), 1)", "torch.cat((z, 0 * label), 1)")],
        "recipe own",
        {"R-LABELS": "no difference to its samples"},
    ),
    "state outside the buffers of a network": (
        [("self.layer = nn.Linear(", "self.gain = gain * torch.rand(())\n        self.layer = nn.Linear(")],
        "generator gen",
        {"C-SAVE": "keep all state in weights and buffers"},
    ),
    "two networks share a tensor": (
        [
            (
                'return {"G": Gen(spec, 8), "D": Dis(spec)}',
                'return {"G": (g := Gen(spec, 8)), "D": Dis(spec), "again": nn.Sequential(g.layer)}',
            )
        ],
        "recipe own",
        {"R-SAVE": "share memory", "R-TURNS": "again.0.weight"},
    ),
    "a player changes the network of another": (
        [
            (
                "        real, fake = nets.D(batch",
                "        with torch.no_grad():\n            nets.G.layer.bias.mul_(0.5)\n"
                "        real, fake = nets.D(batch",
            )
        ],
        "recipe own",
        {"R-TURNS": "the update of discriminator changes G.layer.bias"},
    ),
    "batch normalization in a discriminator with a gradient penalty": (
        [
            (
                "self.inner = nn.Linear(math.prod(spec.shape) + spec.classes, width)\n",
                "self.inner = nn.Sequential(\n"
                "            nn.Linear(math.prod(spec.shape) + spec.classes, width), nn.BatchNorm1d(width))\n",
            ),
            (
                'return {"loss": f(-real).mean() + f(fake).mean()}',
                'x = batch["real"].detach().requires_grad_()\n'
                '        (g,) = torch.autograd.grad(nets.D(x, batch["label"]).sum(), x, create_graph=True)\n'
                '        return {"loss": f(-real).mean() + f(fake).mean(), "r1": g.flatten(1).square().sum(1).mean()}',
            ),
        ],
        "recipe own",
        {"R-PENALTY": "batch normalization of D"},
    ),
    "noise in a loss": (
        [
            (
                "fool(nets: Nets, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:\n        return",
                "fool(nets: Nets, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:\n"
                '        batch = {**batch, "fake": batch["fake"] + torch.randn_like(batch["fake"])}\n        return',
            )
        ],
        "recipe own",
        {"R-PURE": "take it from the batch"},
    ),
    "state outside of networks": (
        [
            ("def discriminate(nets: Nets", "calls: list[int] = []\n\n    def discriminate(nets: Nets"),
            (
                "        real, fake = nets.D(batch",
                "        calls.append(1)\n        real, fake = nets.D(batch",
            ),
            ("+ f(fake).mean()}", "+ len(calls) * f(fake).mean()}"),
        ],
        "recipe own",
        {
            "R-RESUME": "keep all state in weights and buffers",
            "R-SEED": "two runs with the same seed differ",
            "R-PURE": "a loss of discriminator",
        },
    ),
    "a term that is a sum over the batch": (
        [('nets.D(batch["fake"], batch["label"])).mean()', 'nets.D(batch["fake"], batch["label"])).sum()')],
        "recipe own",
        {"R-RANKS": "is a loss a sum"},
    ),
    "noise that depends on the data": (
        [('torch.randn(len(batch["real"]), 8)', 'batch["real"].mean() + torch.randn(len(batch["real"]), 8)')],
        "recipe own",
        {"R-DRAW": "use its shapes alone", "R-RANKS": ""},
    ),
    "a discriminator that does not learn": (
        [("loss=discriminate, optimizer=adam(lr)", "loss=discriminate, optimizer=adam(0.0)")],
        "recipe own",
        {"R-LEARNS": "does not decrease"},
    ),
    "a loss with the wrong sign": (
        [("lambda fake, real: f(-fake).mean()", "lambda fake, real: f(fake).mean()")],
        "loss soft",
        {"L-DIRECTION": "gains nothing from higher fake logits"},
    ),
    "a loss that grows with the batch": (
        [("lambda fake, real: f(-fake).mean()", "lambda fake, real: f(-fake).sum()")],
        "loss soft",
        {"L-MEAN": "take the mean"},
    ),
    "a loss that overflows": (
        [
            (
                "f = torch.nn.functional.softplus\n    return Adv",
                "f = lambda x: (1 + x.exp().square()).log()\n    return Adv",
            )
        ],
        "loss soft",
        {"L-SCALAR": "non-finite"},
    ),
    "noise in a penalty": (
        [
            (
                'x = batch["real"].detach().requires_grad_()',
                'x = (batch["real"] + torch.randn_like(batch["real"])).detach().requires_grad_()',
            )
        ],
        "penalty slope",
        {"P-PURE": "draws its own noise"},
    ),
    "a penalty without a second derivative": (
        [(", x, create_graph=True)\n        return", ", x)\n        return")],
        "penalty slope",
        {"P-SCALAR": "create_graph=True"},
    ),
    "an augmentation that stops gradients": (
        [("return x * (0.5", "return x.detach() * (0.5")],
        "augmentation dim",
        {"A-GRADIENT": "graph to the samples"},
    ),
    "noise in an augmentation": (
        [("return x * (0.5 + 0.5 * noise)", "return x * (0.5 + 0.5 * torch.rand(len(x), *[1] * (x.ndim - 1)))")],
        "augmentation dim",
        {"A-PURE": "make it a game.Noisy"},
    ),
    "labels that are not one-hot": (
        [
            ("import math\n", "import math\nfrom dataclasses import replace\n"),
            (
                "    return splits\n",
                "    return {k: replace(s, decode=lambda rows, draw: {'real': rows['real'], "
                "'label': rows['label'][:, None].float().repeat(1, 2)}) for k, s in splits.items()}\n",
            ),
        ],
        "dataset cross",
        {"T-BATCH": "not one-hot"},
    ),
    "data that change each time": (
        [("torch.linspace(-1, 1, count + start)", "torch.rand(count + start)")],
        "dataset cross",
        {"T-SAME": "another digest"},
    ),
    "features that depend on their batch": (
        [("values = x.flatten(1).float()", "values = x.flatten(1).float() - x.float().mean()")],
        "extractor mean",
        {"E-FEATURES": "depend on the other samples of its batch"},
    ),
    "an extractor with other classes than logits": (
        [('"extractor", "mean", "mean")', '"extractor", "mean", "mean", classes=("cat", "dog"))')],
        "extractor mean",
        {"E-CLASSES": "it states 2 classes and returns 0 logits"},
    ),
    "a preset of an unknown option": (
        [('{"small": {"latent": 4}}', '{"small": {"latents": 4}}')],
        "recipe game",
        {"C-OPTIONS": "no option --latents; did you mean --latent?"},
    ),
}


def test_a_plugin_without_faults_passes(tmp_path: Path, clean_plugins: None) -> None:
    (tmp_path / "conforming.py").write_text(CONFORMING)
    assert failures(tmp_path / "conforming.py") == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_the_check_that_tests_for_it(fault: str, tmp_path: Path, clean_plugins: None) -> None:
    """The component at fault fails no other check; a recipe that uses the component may fail as well."""
    changes, subject, expected = FAULTS[fault]
    source = CONFORMING
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    (tmp_path / "faulty.py").write_text(source)
    kind, name = subject.split()
    failed = failures(tmp_path / "faulty.py", name)[f"{kind} local/{name}"]
    assert failed.keys() == expected.keys(), failed
    for check, words in expected.items():
        assert words in failed[check], failed
