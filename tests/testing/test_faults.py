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
        [("(values.mean(1), ", "(values.mean(1) - values.mean(), ")],
        "extractor mean",
        {"E-FEATURES": "depend on the other samples of its batch"},
    ),
    "an extractor of bytes only": (
        [("values = x.flatten(1)\n", "values = x.flatten(1) ^ 0\n")],
        "extractor mean",
        {"E-GRADIENTS": "fails for samples in float32 (NotImplementedError"},
    ),
    "an extractor of floats in float32 only": (
        [("(values + 1) / 2", "(values @ torch.eye(values.shape[1]) + 1) / 2")],
        "extractor mean",
        {"E-GRADIENTS": "fails for samples in float64 (RuntimeError"},
    ),
    "an extractor that takes floats for another range": (
        [("(values + 1) / 2", "values")],
        "extractor mean",
        {"E-GRADIENTS": "features of float samples differ from those of the same samples in a file"},
    ),
    "an extractor that rounds floats": (
        [("(values + 1) / 2", "(127.5 * (values + 1)).round().to(torch.uint8).float() / 255")],
        "extractor mean",
        {"E-GRADIENTS": "no graph to float samples: remove no_grad"},
    ),
    "an extractor that rounds floats and has a gradient of zero": (
        [("(values + 1) / 2", "(127.5 * (values + 1)).round() / 255")],
        "extractor mean",
        {"E-GRADIENTS": "gradient of its features is zero for a sample"},
    ),
    "an extractor with half of the gradient": (
        [("(values + 1) / 2", "(values / 2 + values.detach() / 2 + 1) / 2")],
        "extractor mean",
        {"E-GRADIENTS": "and finite differences"},
    ),
    "an extractor with a gradient that is not finite": (
        [("(values + 1) / 2", "((values + 1) ** 2 + 0 * (values - values.detach()).abs().sqrt()) ** 0.5 / 2")],
        "extractor mean",
        {"E-GRADIENTS": "non-finite values"},
    ),
    "an extractor of a modality that is not installed": (
        [('"extractor", "mean", "mean")', '"extractor", "mean", "mean", modality="acme/scans")')],
        "extractor mean",
        {"E-FEATURES": "unknown modality", "E-GRADIENTS": "unknown modality"},
    ),
    "an extractor with other classes than logits": (
        [('"extractor", "mean", "mean")', '"extractor", "mean", "mean", classes=("cat", "dog"))')],
        "extractor mean",
        {"E-CLASSES": "it states 2 classes and returns 0 logits"},
    ),
    # --- modalities
    "a file of several samples that lacks one": (
        [('{".bits": lambda x, spec: self.text(x, spec)}', '{".bits": lambda x, spec: self.text(x[1:], spec)}')],
        "modality bits",
        {"M-FILES": "4 samples written to .bits are read as 3"},
    ),
    "a file that inverts its samples": (
        [('"".join("-+"[bit]', '"".join("+-"[bit]')],
        "modality bits",
        {"M-FILES": "samples change when they are written to .bits"},
    ),
    "a plan that forgets the range": (
        [("range=(0.0, 1.0), modality", "range=None if scans == [3] * 4 else (0.0, 1.0), modality")],
        "modality bits",
        {"M-FILES": "`plan` states range None"},
    ),
    "a count that is too large": (
        [
            (
                "    def example(self)",
                "    def count(self, scans, spec):\n        return 1 + len(scans)\n\n    def example(self)",
            )
        ],
        "modality bits",
        {"M-FILES": "`count` states 2 samples", "M-DAMAGED": "`count` states"},
    ),
    "a sample of an empty file": (
        [("yield from map(len, _lines(file))", "yield from map(len, _lines(file) or ['---'])")],
        "modality bits",
        {"M-DAMAGED": "finds 1 samples in an empty .bits file"},
    ),
    "damaged files that give samples of another shape": (
        [("in line], np.uint8)", "in line[: 3 if file.getbuffer().nbytes > 3 else 2]], np.uint8)")],
        "modality bits",
        {"M-DAMAGED": "`read` yields uint8 (2,)"},
    ),
    "a preview that grows with its content": (
        [("8 * len(x)))", "8 * len(x) + int(x.sum())))")],
        "modality bits",
        {"M-PREVIEW": "they cannot be animated"},
    ),
    "a preview that is an array": (
        [
            (
                "return Image.fromarray(255 * self.quantize(x, spec).numpy()).resize((8 * x.shape[1], 8 * len(x)))",
                "return 255 * self.quantize(x, spec).numpy()",
            )
        ],
        "modality bits",
        {"M-PREVIEW": "not a Pillow image", "M-PURE": "not a Pillow image", "M-FILES": "it raises"},
    ),
    "html with a font of a server": (
        [('return f"<pre>', 'return "<style>@import \'https://example.org/f.css\'</style>" f"<pre>')],
        "modality bits",
        {"M-HTML": "a style that requests a file"},
    ),
    "html with an image of a server": (
        [('return f"<pre>', 'return \'<img src="//example.org/x.png">\' f"<pre>')],
        "modality bits",
        {"M-HTML": "embed it as data:"},
    ),
    "html that runs a script": (
        [('return f"<pre>', 'return f"<pre onclick=play()>')],
        "modality bits",
        {"M-HTML": "runs a script"},
    ),
    "html that is not escaped": (
        [
            (
                "{escape(''.join(spec.symbols[bit] for bit in self.quantize(x, spec).tolist()))}",
                "{''.join(spec.symbols[bit] for bit in self.quantize(x, spec).tolist())}",
            )
        ],
        "modality bits",
        {"M-HTML": ""},
    ),
    "html that stays open": ([("</pre>", "")], "modality bits", {"M-HTML": "leaves <pre> open"}),
    "decoding with random numbers of its own": (
        [("return rows.float()\n", "return rows.float() * (1 - 0.1 * torch.rand(1))\n")],
        "modality bits",
        {"M-PURE": "`decode` gives two results"},
    ),
    "decoding that leaves the range": (
        [("return rows.float()\n", "return 2 * rows.float()\n")],
        "modality bits",
        {"M-DECODE": "leave the range"},
    ),
    "quantizing in place": (
        [("(x > 0.5)", "(x.clamp_(0.1, 0.9) > 0.5)")],
        "modality bits",
        {"M-PURE": "`quantize` changes its argument"},
    ),
    "quantizing by the batch": (
        [("return (x > 0.5)", "return (x > (0.5 if len(x) > 1 else 1.5))")],
        "modality bits",
        {"M-PURE": "depends on the other samples", "M-FILES": "samples change"},
    ),
    "arrays that raise": (
        [
            (
                "    def example(self)",
                "    def adopt(self, arrays, kind, where):\n        return 1 + None\n\n    def example(self)",
            )
        ],
        "modality bits",
        {"M-ADOPT": "it raises"},
    ),
    "a suffix without a dot": (
        [('(".bits",), 5', '("bits",), 5')],
        "modality bits",
        {"M-STATES": "lower case with a dot"},
    ),
    "equal examples": (
        [("[0, 1, 0], [1, 1, 0]", "[0, 0, 1], [1, 1, 0]")],
        "modality bits",
        {
            f"M-{name}": "are equal"
            for name in ("STATES", "FILES", "DAMAGED", "ADOPT", "DECODE", "PURE", "PREVIEW", "HTML")
        },
    ),
    # --- networks of other kinds
    "a mapping with noise": (
        [("self.layer(z) + self.mean", "self.layer(z) + self.mean + torch.rand(1)")],
        "network mapping",
        {"N-SEED": "the same inputs give another output"},
    ),
    "a mapping that keeps its mean outside the buffers": (
        [('self.register_buffer("mean", torch.zeros(width))', "self.mean = torch.rand(width)")],
        "network mapping",
        {"N-SAVE": "keep all state in weights and buffers"},
    ),
    "a mapping that counts in evaluation mode": (
        [("        if self.training:\n            self.mean", "        if True:\n            self.mean")],
        "network mapping",
        {"N-ONE": "changes mean", "N-SEED": "the same inputs"},
    ),
    "a mapping whose inputs are not stated": (
        [("def example_inputs(", "def inputs(")],
        "network mapping",
        {f"N-{name}": "has a method `example_inputs(rows)`" for name in ("RUNS", "SEED", "SAVE", "ONE")},
    ),
    # --- metrics
    "two values of one name": (
        [('Value("first", "Mean', 'Value("gap", "Mean')],
        "metric gap",
        {"V-STATES": "two of its values are called gap", "V-IDEAL": "`measure` returns"},
    ),
    "an ideal that is missing": (
        [('"near", ideal=0.0', '"near"')],
        "metric gap",
        {"V-STATES": "state the ideal"},
    ),
    "a value that is not returned": (
        [('"first": Measured(total', '"mean": Measured(total')],
        "metric gap",
        {"V-IDEAL": "`measure` returns gap, mean, not gap, first"},
    ),
    "a distance with an offset": (
        [("float(apart.norm())", "1 + float(apart.norm())")],
        "metric gap",
        {"V-IDEAL": "gap of cross against itself is 1, not its ideal 0"},
    ),
    "a mean over chunks": (
        [
            (
                'total = sum(float(chunk["fake"][:, 0].sum()) for chunk in view.chunks("fake"))',
                'total = view.num / 1e3 / len(list(view.chunks("fake")))',
            )
        ],
        "metric gap",
        {"V-IDEAL": "in chunks of 7"},
    ),
    "a modality that is not installed": (
        [('modalities=("points",)', 'modalities=("pointz",)')],
        "metric gap",
        dict.fromkeys(("V-STATES", "V-IDEAL", "V-LEAST"), "unknown modality"),
    ),
    "a need that does not exist": (
        [('{"features", "samples"}', '{"features", "images"}')],
        "metric gap",
        {"V-STATES": "it needs images"},
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
