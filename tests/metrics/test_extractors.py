"""The first-party extractors: outputs, errors, training, and weights that are downloaded or given by the user."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from aigc_zoo.data.modalities import modality
from aigc_zoo.errors import ConfigError, DataError, ZooError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.metrics.features import Extractor, ExtractorWeights, concatenate, load_extractor, read_weights, rebatch
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo_plugins.datasets.digits import digits as all_digits
from aigc_zoo_plugins.extractors import inception, rgb32, train_grey28, train_rgb32
from aigc_zoo_plugins.extractors.grey28 import FILE, Grey28


def metadata() -> dict[str, str]:
    """Metadata of the weights file."""
    with safe_open(FILE, framework="pt") as file:
        return dict(file.metadata())


def stated_accuracy(data: str) -> float:
    return float(dict(part.split("=") for part in metadata()["accuracy"].split())[data])


# --- zoo-grey28 -------------------------------------------------------------------------------------------------------


def test_the_weights_file_is_small_and_records_its_training() -> None:
    assert FILE.stat().st_size <= 500_000
    assert set(metadata()) == {"accuracy", "data", "settings", "versions", "date"}
    assert "seed=" in metadata()["settings"]
    assert "torch=" in metadata()["versions"]


def test_features_and_logits_have_their_shapes(grey28: Extractor, digits: tuple[Tensor, Tensor]) -> None:
    output = grey28.module(digits[0][:5])
    assert output["features"].shape == (5, 128)
    assert output["logits"].shape == (5, 10)
    assert output["features"].dtype == output["logits"].dtype == torch.float32
    assert torch.equal(grey28.features(digits[0][:5]), output["features"])
    assert not any(parameter.requires_grad for parameter in grey28.module.parameters())
    assert len(grey28.digest) == 16


def test_its_accuracy_on_digits_is_as_stated(grey28: Extractor) -> None:
    test = all_digits(Path())["test"]
    accuracy = train_grey28.accuracy(grey28.module, test.fields["real"], test.fields["label"])
    assert accuracy == pytest.approx(stated_accuracy("digits"), abs=0.001)
    assert accuracy > 0.99


@pytest.mark.real_data
def test_its_accuracy_on_mnist_is_as_stated(grey28: Extractor, zoo_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(zoo_data))
    test = train_grey28.dataset("mnist")["test"]
    accuracy = train_grey28.accuracy(grey28.module, test.fields["real"], test.fields["label"])
    assert accuracy == pytest.approx(stated_accuracy("mnist"), abs=0.001)
    assert accuracy > 0.985


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
        torch.zeros(2, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 1, 28, 28, dtype=torch.int64),
    ],
    ids=["colour", "32x32", "no channel", "int64"],
)
def test_other_images_are_refused_with_advice(grey28: Extractor, images: Tensor) -> None:
    with pytest.raises(ConfigError, match="--extractor") as error:
        grey28.features(images)
    assert "\n" not in str(error.value)
    assert str(tuple(images.shape)) in str(error.value)


def test_loading_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    load_extractor(catalogue(), "zoo-grey28")
    assert torch.equal(before, torch.get_rng_state())


def test_an_extractor_with_weights_of_its_own_accepts_no_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ships its own weights: remove --extractor-weights"):
        load_extractor(catalogue(), "zoo-grey28", weights=tmp_path / "some.pth")


def test_features_are_extracted_in_batches_of_64_for_any_chunk_size(
    grey28: Extractor, digits: tuple[Tensor, Tensor]
) -> None:
    images = digits[0][:200]
    assert [len(batch) for batch in rebatch(images.split(7), 64)] == [64, 64, 64, 8]
    assert [len(batch) for batch in rebatch([images[:130], images[130:130], images[130:192]], 64)] == [64, 64, 64]
    assert list(rebatch([], 64)) == []
    whole, again = (concatenate([*grey28.stream(chunks)]) for chunks in ([images], images.split(7)))
    assert torch.equal(whole.values, again.values)
    assert whole.logits is not None
    assert torch.equal(whole.logits, again.logits)
    assert whole.logits.shape[1] == len(grey28.classes) == 10


# --- zoo-rgb32 --------------------------------------------------------------------------------------------------------


def test_the_colour_extractor_is_small_and_records_its_training() -> None:
    assert rgb32.FILE.stat().st_size <= 1_000_000
    with safe_open(rgb32.FILE, framework="pt") as file:
        assert set(file.metadata()) == {"accuracy", "data", "settings", "versions", "date"}
    features = load_extractor(catalogue(), "zoo-rgb32").extract_features(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert features.values.shape == (2, 128)
    assert features.logits is not None
    assert features.logits.shape == (2, 10)
    with pytest.raises(ConfigError, match="--extractor"):
        load_extractor(catalogue(), "zoo-rgb32").extract_features(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.real_data
def test_the_accuracy_of_the_colour_extractor_is_as_stated(cifar10: Mapping[str, Samples]) -> None:
    test = cifar10["test"]
    with safe_open(rgb32.FILE, framework="pt") as file:
        stated = float(file.metadata()["accuracy"].partition("=")[2])
    rows = torch.arange(0, 10_000, 5)
    found = train_grey28.accuracy(rgb32.rgb32().eval(), test.fields["real"][rows], test.fields["label"][rows])
    assert found == pytest.approx(stated, abs=0.03), "on a fifth of the images"
    assert found > 0.7


def test_colour_images_are_mirrored_for_training() -> None:
    images = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    images[:, :, 16, 4] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moved = train_rgb32.mirrored(images)
    left = moved[:, :, :, :16].flatten(1).any(1)
    assert 16 < int(left.sum()) < 48
    assert torch.equal(moved.sum((2, 3)), images.sum((2, 3)))


# --- floats -----------------------------------------------------------------------------------------------------------

SMALL = {"zoo-grey28": (1, 28, 28), "zoo-stacked28": (3, 28, 28), "zoo-rgb32": (3, 32, 32)}


def drawn(name: str, rows: int = 5) -> Tensor:
    return torch.randint(0, 256, (rows, *SMALL[name]), dtype=torch.uint8, generator=generator("floats", name))


@pytest.mark.parametrize("name", SMALL)
def test_floats_have_the_features_of_the_bytes_that_they_decode(name: str) -> None:
    module = load_extractor(catalogue(), name).module
    images = drawn(name)
    decoded = modality(catalogue(), "image").decode(images, lambda *_: torch.zeros(()), Spec(shape=SMALL[name]))
    wanted, found = module(images), module(decoded)
    assert wanted["features"].std(0).mean() > 1e-3, "features differ between images"
    for output in wanted:
        assert torch.allclose(found[output], wanted[output], rtol=1e-4, atol=1e-5), output


@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_of_floats_is_that_of_finite_differences(name: str) -> None:
    module = load_extractor(catalogue(), name).module.double()
    samples = (drawn(name, rows=2).double() / 127.5 - 1).requires_grad_()
    direction = torch.randn(samples.shape, generator=generator("direction"), dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return module(x)["features"].square().mean()

    (gradient,) = torch.autograd.grad(loss(samples), samples)
    with torch.no_grad():
        slope = (loss(samples + 1e-7 * direction) - loss(samples - 1e-7 * direction)) / 2e-7
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)
    assert bool(gradient.flatten(1).any(1).all())


@pytest.mark.parametrize("name", SMALL)
def test_floats_of_another_shape_are_refused_without_an_option_of_metrics(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\(2, 2, 5, 5\) float32: choose another extractor for this loss$"):
        load_extractor(catalogue(), name).module(torch.zeros(2, 2, 5, 5))


@pytest.mark.parametrize("name", SMALL)
def test_features_of_bytes_have_not_changed(name: str) -> None:
    """The formula of the first release, on the layers themselves."""
    module = load_extractor(catalogue(), name).module
    images, digit = drawn(name), getattr(module, "digit", module)
    if name == "zoo-rgb32":
        wanted = digit.body(images.float() / 127.5 - 1).mean((2, 3))
    else:
        wanted = digit.body(images.view(-1, 1, 28, 28).float() / 255).mean((2, 3)).view(len(images), -1)
    assert torch.equal(module(images)["features"], wanted)


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_is_deterministic(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits[0][:384], digits[1][:384]
    state = torch.get_rng_state()
    first, second = (train_grey28.fit(images, labels, epochs=2, seed=5) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    features = first(images)["features"].detach().double()
    assert float(features.var(0).sum()) == pytest.approx(train_grey28.TOTAL_VARIANCE, rel=1e-4)


@pytest.mark.nightly
@pytest.mark.real_data
def test_training_again_gives_the_same_accuracy(
    zoo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are bit-identical on one machine; other processors round differently, so accuracy is compared."""
    monkeypatch.setenv("ZOO_DATA", str(zoo_data))
    train_grey28.main(["--out", str(tmp_path / "again.safetensors")])
    with safe_open(tmp_path / "again.safetensors", framework="pt") as file:
        found = dict(part.split("=") for part in file.metadata()["accuracy"].split())
    for data, accuracy in found.items():
        assert float(accuracy) == pytest.approx(stated_accuracy(data), abs=0.003)


def test_folding_and_scaling_keep_the_function(digits: tuple[Tensor, Tensor]) -> None:
    images = digits[0][:100]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = Grey28(nn.BatchNorm2d)
        module(images)  # fills the running statistics
        module.eval()
        wanted = module(images)["logits"]
        found = train_grey28.scaled(train_grey28.folded(module), images)(images)["logits"]
    assert torch.allclose(found, wanted, atol=1e-4)


def test_augmentation_shifts_and_adds_noise_within_its_bounds() -> None:
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 14, 14] = 255
    with torch.random.fork_rng():
        torch.manual_seed(2)
        moved = train_grey28.shifted(images)
        noisy = train_grey28.noised(images)
    _, _, rows, columns = moved.nonzero(as_tuple=True)
    assert len(rows) == 64
    for positions in (rows, columns):
        assert sorted(set(positions.tolist())) == [12, 13, 14, 15, 16]
    untouched = (noisy == images).flatten(1).all(1)
    assert 16 < int(untouched.sum()) < 48


def test_the_training_script_writes_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "trial.safetensors"
    train_grey28.main(["--out", str(out), "--data", "digits", "--limit", "256", "--epochs", "1"])
    with safe_open(out, framework="pt") as file:
        assert set(file.keys()) == set(Grey28().state_dict())
        assert file.metadata()["data"].startswith("digits/train=")
    assert "accuracy digits=0." in capsys.readouterr().out


# --- weights that are not shipped -------------------------------------------------------------------------------------


def saved(path: Path, content: object) -> str:
    torch.save(content, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_with_a_known_digest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    digest = saved(path, {"a": torch.arange(3)})
    (read,) = read_weights(path, sha256={digest, "0" * 64}, max_bytes=10_000).values()
    assert torch.equal(read, torch.arange(3))


def test_a_file_with_another_digest_is_refused_before_it_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    digest = saved(path, {"a": torch.arange(3)})

    def never(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", never)
    with pytest.raises(DataError, match=f"SHA-256 begins with {digest[:16]}, not 0000.*\n.*--extractor-weights"):
        read_weights(path, sha256={"0" * 64}, max_bytes=10_000)
    with pytest.raises(DataError, match="larger than the limit of 100 bytes"):
        read_weights(path, sha256={digest}, max_bytes=100)
    with pytest.raises(DataError, match=r"nothing\.pth cannot be read: No such file"):
        read_weights(tmp_path / "nothing.pth", sha256={digest}, max_bytes=100)


class _Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


def test_code_in_a_file_is_not_executed_even_when_its_digest_is_allowed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for number, write in enumerate((torch.save, lambda content, path: path.write_bytes(pickle.dumps(content)))):
        path = tmp_path / f"{number}.pth"
        write({"a": _Hostile(canary)}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with pytest.raises(DataError, match="does not contain a dictionary of tensors"):
            read_weights(path, sha256={digest}, max_bytes=10_000)
    assert not canary.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": "text"}])
def test_other_content_is_refused(content: object, tmp_path: Path) -> None:
    digest = saved(tmp_path / "weights.pth", content)
    with pytest.raises(DataError, match="does not contain a dictionary of tensors"):
        read_weights(tmp_path / "weights.pth", sha256={digest}, max_bytes=10_000)


def test_a_failed_download_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = ExtractorWeights("zoo/inception-v3-compat")
    with pytest.raises(ZooError, match=r"zoo/inception-v3-compat: .*cannot be downloaded") as error:
        weights("https://127.0.0.1:9/weights.pth", sha256=inception.SHA256, size=inception.BYTES)
    assert str(tmp_path) in str(error.value)
    assert "--extractor-weights FILE" in str(error.value)
    assert str(error.value).count("\n") < 3
    assert not list(tmp_path.rglob("*.pth"))


def test_downloads_share_the_cache_of_torch_fidelity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / "weights.pth"
    kept.parent.mkdir(parents=True)
    digest = saved(kept, {"a": torch.arange(3)})
    assert list(ExtractorWeights("x")("https://127.0.0.1:9/weights.pth", sha256=digest, size=2_000)) == ["a"]


# --- inception-v3-compat ----------------------------------------------------------------------------------------------


def test_inception_equals_that_of_torch_fidelity_up_to_rounding(inception_file: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    rng = torch.get_rng_state()
    ours = load_extractor(catalogue(), "inception-v3-compat", weights=inception_file)
    assert torch.equal(rng, torch.get_rng_state())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.module.modules())
    layers = ["2048", "logits_unbiased"]
    with torch.random.fork_rng():
        theirs = FeatureExtractorInceptionV3("x", layers, feature_extractor_weights_path=str(inception_file))
    images = torch.randint(0, 256, (3, 1, 20, 24), dtype=torch.uint8, generator=generator("pictures"))
    features, logits = theirs(images.repeat(1, 3, 1, 1))
    assert features.std(0).mean() > 1e-3, "features differ between images"
    found = ours.extract_features(images)  # the grey channel is repeated
    assert found.logits is not None
    for value, wanted in ((found.values, features), (found.logits, logits)):
        assert float((value - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())
    assert torch.equal(ours.features(images.repeat(1, 3, 1, 1)), found.values)
    with pytest.raises(ConfigError, match="--extractor NAME"):
        ours.features(images.long())


def test_inception_of_floats_is_that_of_bytes_with_gradients(inception_file: Path) -> None:
    module = load_extractor(catalogue(), "inception-v3-compat", weights=inception_file).module
    images = torch.randint(0, 256, (2, 1, 20, 24), dtype=torch.uint8, generator=generator("floats"))
    samples = (images / 127.5 - 1).requires_grad_()
    wanted, found = module(images), module(samples)
    for name, value in found.items():
        assert float((value - wanted[name]).detach().abs().max()) < 2e-5 * float(wanted[name].abs().max()), name
    (gradient,) = torch.autograd.grad(found["features"].square().sum(), samples)
    assert bool(torch.isfinite(gradient).all())
    assert bool(gradient.flatten(1).any(1).all())


def test_a_users_own_weights_are_taken_and_named(inception_file: Path) -> None:
    """Their digest is in every protocol, so their values are not compared with others."""
    extractor = load_extractor(catalogue(), "inception-v3-compat", weights=inception_file)
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert digest[:16] in extractor.note
    assert inception.SHA256[:16] in extractor.note
    assert "\n" not in extractor.note


def test_inception_says_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "small.pth"
    saved(path, {"a": torch.arange(3)})
    with pytest.raises(ConfigError, match="zoo/inception-v3-compat") as refused:
        load_extractor(catalogue(), "inception-v3-compat", weights=path)
    assert str(refused.value).count("\n") < 3
    with pytest.raises(DataError, match=r"none\.pth cannot be read.*\n.*--extractor-weights"):
        load_extractor(catalogue(), "inception-v3-compat", weights=tmp_path / "none.pth")


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(3_000_000))
    with pytest.raises(DataError, match="unpacks to more than"):
        ExtractorWeights("x", path)("https://127.0.0.1:9/w.pth", sha256="0" * 64, size=1_000_000)


def test_the_published_digest_is_the_one_in_its_name() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert len(inception.SHA256) == 64
    assert URL_INCEPTION_V3.endswith(f"-{inception.SHA256[:8]}.pth")
