"""Every network of the first families: shapes, types, ranges, sizes, weights."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from aigc_zoo.game import Spec, count_parameters
from aigc_zoo.layers import ConditionalNorm, Maxout, Projection, halved
from aigc_zoo_plugins.dcgan import networks as dcgan
from aigc_zoo_plugins.primer import networks as primer
from aigc_zoo_plugins.resnet import networks as resnet
from aigc_zoo_plugins.vanilla import networks as vanilla

FAMILIES = {"dcgan": dcgan, "primer": primer, "resnet": resnet, "vanilla": vanilla}
SHAPES = [(1, 28, 28), (3, 32, 32), (4, 28, 28), (3, 64, 64), (1, 28, 56), (3, 48, 24)]
LATENT = 7


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pair(family: str, spec: Spec, **options: Any) -> tuple[nn.Module, nn.Module]:
    module = FAMILIES[family]
    return module.generator(spec, LATENT, width=4, **options), module.discriminator(spec, width=4, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_precision(family: str, shape: tuple[int, ...]) -> None:
    G, D = pair(family, Spec(shape=shape))
    for dtype in (torch.float32, torch.float64):
        fake = G.to(dtype)(torch.randn(3, LATENT, dtype=dtype), None)
        assert fake.shape == (3, *shape)
        assert fake.dtype == dtype
        logits = D.to(dtype)(fake, None)
        assert logits.shape == (3, 1)
        assert logits.dtype == dtype


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)])
def test_samples_fill_the_range_and_never_leave_it(family: str, bounds: tuple[float, float]) -> None:
    G, _ = pair(family, Spec(shape=(1, 28, 28), range=bounds))
    low, high = bounds
    fake = G(torch.randn(8, LATENT), None)
    assert low <= fake.min() < fake.max() <= high
    # Last layers with He's or Glorot's weights start off the middle, with the few channels of this test.
    margin = 0.25 if family in ("primer", "resnet") else 0.1
    assert fake.mean().item() == pytest.approx((low + high) / 2, abs=margin * (high - low))
    with torch.no_grad():
        for weight in G.parameters():
            weight.mul_(100)
        far = G(torch.randn(8, LATENT) * 100, None)
    assert far.min().item() == pytest.approx(low, abs=1e-5)
    assert far.max().item() == pytest.approx(high, abs=1e-5)
    assert low - 1e-6 <= far.min()
    assert far.max() <= high + 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_range_the_output_is_linear(family: str) -> None:
    G, _ = pair(family, Spec(shape=(1, 28, 28), range=None))
    with torch.no_grad():
        for weight in G.parameters():
            weight.mul_(30)
    assert G(torch.randn(8, LATENT) * 100, None).abs().max() > 100


def test_vanilla_takes_points_and_other_shapes() -> None:
    for shape in [(2,), (5, 3), (1, 9, 11)]:
        G, D = pair("vanilla", Spec(shape=shape, range=None, modality="points"))
        fake = G(torch.randn(6, LATENT), None)
        assert fake.shape == (6, *shape)
        assert D(fake, None).shape == (6, 1)


LABELS = torch.eye(10)[[0, 3, 9]]
CONDITIONS = [(family, {}) for family in FAMILIES] + [
    ("dcgan", {"condition": "norm"}),
    ("resnet", {"condition": "concat"}),
]


@pytest.mark.parametrize(("family", "how"), CONDITIONS, ids=str)
def test_labels_matter_to_both_networks(family: str, how: dict[str, Any]) -> None:
    spec = Spec(shape=(1, 28, 28), classes=10)
    G = FAMILIES[family].generator(spec, LATENT, width=4, **how)
    D = FAMILIES[family].discriminator(spec, width=4)
    with torch.no_grad():  # scales and shifts of classes begin alike
        for name, weight in G.named_parameters():
            weight.add_(0.1 * torch.randn_like(weight)) if "scale" in name or "shift" in name else None
    z = torch.randn(1, LATENT).expand(3, -1)
    fake = G.eval()(z, LABELS)
    assert fake.shape == (3, 1, 28, 28)
    assert not torch.allclose(fake[0], fake[1])
    logits = D.eval()(fake[:1].expand(3, -1, -1, -1), LABELS)
    assert logits.shape == (3, 1)
    assert len({round(float(logit), 9) for logit in logits.detach()}) == 3


@pytest.mark.parametrize("family", ["dcgan", "resnet"])
def test_labels_in_a_norm_need_a_norm(family: str) -> None:
    spec = Spec(shape=(1, 28, 28), classes=10)
    with pytest.raises(ValueError, match=r"need one: choose --generator\.norm batch or group"):
        FAMILIES[family].generator(spec, LATENT, condition="norm", norm="none")


def test_scales_and_shifts_of_classes_are_those_of_the_norm_at_the_start() -> None:
    norm = ConditionalNorm(nn.BatchNorm2d(3, affine=False), 3, 10)
    x = torch.randn(4, 3, 5, 5)
    labels = torch.eye(10)[[0, 1, 2, 3]]
    torch.testing.assert_close(norm(x, labels), nn.BatchNorm2d(3)(x))
    with torch.no_grad():
        norm.scale[1] = 2.0
        norm.shift[1] = 1.0
    found = norm(x, labels)
    torch.testing.assert_close(found[1], nn.BatchNorm2d(3)(x)[1] * 2 + 1)
    torch.testing.assert_close(found[0], nn.BatchNorm2d(3)(x)[0])


def test_projection_is_the_formula() -> None:
    head = Projection(5, 10)
    h = torch.randn(3, 5)
    expected = h @ head.score.weight[0] + head.score.bias + (h * head.embedding.weight.T[[0, 3, 9]]).sum(1)
    torch.testing.assert_close(head(h, LABELS)[:, 0], expected)


@pytest.mark.parametrize("family", ["dcgan", "resnet", "vanilla"])
@pytest.mark.parametrize("classes", [0, 10])
def test_spectral_weights_have_a_largest_singular_value_of_one(family: str, classes: int) -> None:
    D = FAMILIES[family].discriminator(Spec(shape=(1, 28, 28), classes=classes), width=4, weights="spectral")
    label = LABELS if classes else None
    for _ in range(100):  # one power iteration each
        D(torch.randn(3, 1, 28, 28), label)
    D.eval()
    layers = [layer for layer in D.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(layers) >= 3
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("family", ["dcgan", "resnet", "vanilla"])
def test_orthogonal_weights_are_so_and_stay_so(family: str) -> None:
    D = FAMILIES[family].discriminator(Spec(shape=(1, 28, 28)), width=4, weights="orthogonal")
    optimizer = torch.optim.SGD(D.parameters(), lr=0.1)
    D(torch.randn(3, 1, 28, 28), None).sum().backward()
    optimizer.step()
    for layer in D.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            flat = layer.weight.flatten(1)
            gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)


# --- resnet -----------------------------------------------------------------------------------------------------------


def test_resnet_is_the_papers_at_32x32() -> None:
    """SNGAN's table 4: dense 4x4x256, three blocks up, 3x3; and four blocks of 128, two of which halve, sum, dense."""
    spec = Spec(shape=(3, 32, 32))
    G, D = resnet.generator(spec, 128), resnet.discriminator(spec)
    conv = 9 * 256 * 256 + 256
    block = 2 * conv + (256 * 256 + 256) + 2 * 2 * 256
    assert count_parameters(G) == 129 * 4096 + 3 * block + 2 * 256 + (9 * 256 * 3 + 3)
    same = 2 * (9 * 128 * 128 + 128)
    first = (9 * 3 * 128 + 128) + (9 * 128 * 128 + 128) + (3 * 128 + 128)
    assert count_parameters(D) == first + (same + 128 * 128 + 128) + 2 * same + 129
    sizes = []
    for layer in D:
        layer.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[1:])))
    D(torch.randn(2, 3, 32, 32), None)
    assert sizes[:4] == [(128, 16, 16), (128, 8, 8), (128, 8, 8), (128, 8, 8)]


def test_resnet_pools() -> None:
    spec = Spec(shape=(1, 28, 28))
    torch.manual_seed(0)
    total = resnet.discriminator(spec, width=4)
    torch.manual_seed(0)
    mean = resnet.discriminator(spec, width=4, pool="mean")
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(total(x, None), 14 * 14 * mean(x, None))  # biases begin at 0


@pytest.mark.parametrize("norm", ["group", "none"])
def test_resnet_keeps_samples_apart_without_batch_norm(norm: Any) -> None:
    G, D = pair("resnet", Spec(shape=(1, 28, 28)), norm=norm)
    fake = G(torch.randn(5, LATENT), None)
    torch.testing.assert_close(D(fake[:2], None), D(fake, None)[:2])


# --- dcgan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "base", "levels"),
    [
        ((1, 28, 28), (7, 7), 2),
        ((3, 32, 32), (4, 4), 3),
        ((3, 64, 64), (4, 4), 4),
        ((1, 8, 8), (4, 4), 1),
        ((1, 28, 56), (7, 14), 2),
        ((3, 96, 64), (6, 4), 4),
        ((3, 20, 60), (5, 15), 2),
    ],
)
def test_dcgan_levels(shape: tuple[int, ...], base: tuple[int, int], levels: int) -> None:
    assert halved(Spec(shape=shape), "they") == (base, levels)
    G, D = pair("dcgan", Spec(shape=shape))
    ups = [layer for layer in G if isinstance(layer, nn.ConvTranspose2d)]
    downs = [layer for layer in D if isinstance(layer, nn.Conv2d)]
    assert [layer.in_channels for layer in ups] == [4 * 2**level for level in reversed(range(levels))]
    assert [layer.out_channels for layer in downs] == [4 * 2**level for level in range(levels)]


@pytest.mark.parametrize(
    ("shape", "near"),
    [
        ((1, 30, 30), ["28x28", "32x32"]),
        ((3, 100, 100), ["96x96", "112x112"]),
        ((1, 28, 30), ["28x28", "28x32"]),
        ((1, 5, 5), ["8x8"]),
        ((1, 5, 9), ["8x8", "8x10"]),
        ((1, 63, 70), ["56x64", "64x80"]),
    ],
)
def test_dcgan_refuses_other_sizes_and_names_the_nearest(shape: tuple[int, ...], near: list[str]) -> None:
    spec = Spec(shape=shape)
    with pytest.raises(ValueError, match=re.escape(f"cannot generate {shape[1]}x{shape[2]}")) as caught:
        dcgan.generator(spec, LATENT)
    found = re.findall(r"\d+x\d+", str(caught.value).split("nearest are")[1])
    assert found == near
    for size in found:
        halved(Spec(shape=(1, *map(int, size.split("x")))), "they")
    with pytest.raises(ValueError, match="nearest are"):
        dcgan.discriminator(spec)


def test_dcgan_and_primer_refuse_what_is_no_image() -> None:
    for build in (dcgan.generator, primer.generator):
        with pytest.raises(ValueError, match=r"not samples of shape \(2,\)"):
            build(Spec(shape=(2,)), LATENT)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_dcgan_initial_weights(norm: Any) -> None:
    spec = Spec(shape=(3, 32, 32))
    for net in (dcgan.generator(spec, 100, norm=norm, dense=64), dcgan.discriminator(spec, norm=norm, dense=64)):
        weights = [layer.weight for layer in net if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
        every = torch.cat([weight.flatten() for weight in weights])
        if norm == "none":  # He initialization, as no norm rescales the activations
            expected = [(2 / (1.04 * nn.init._calculate_fan_in_and_fan_out(weight)[0])) ** 0.5 for weight in weights]
            assert [weight.std().item() for weight in weights[:-1]] == pytest.approx(expected[:-1], rel=0.05)
        else:
            assert every.mean().item() == pytest.approx(0, abs=1e-4)
            assert every.std().item() == pytest.approx(0.02, rel=0.01)
        scales = [layer.weight for layer in net if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm)]
        assert (not scales) == (norm == "none")
        if scales:
            assert torch.cat(scales).mean().item() == pytest.approx(1, abs=5e-3)
            assert torch.cat(scales).std().item() == pytest.approx(0.02, rel=0.15)
        biases = [value for name, value in net.named_parameters() if name.endswith("bias")]
        assert all(not bias.any() for bias in biases)


def test_dcgan_norms_everything_but_the_discriminators_first_layer_and_the_outputs() -> None:
    G, D = pair("dcgan", Spec(shape=(3, 64, 64)))
    kinds = [type(layer).__name__ for layer in D if not isinstance(layer, nn.LeakyReLU)]
    assert kinds == ["Conv2d", *["Conv2d", "BatchNorm2d"] * 3, "Flatten", "Linear"]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in G) == 4
    assert all(layer.negative_slope == 0.2 for layer in D if isinstance(layer, nn.LeakyReLU))


@pytest.mark.parametrize("norm", ["group", "none"])
def test_dcgan_keeps_samples_apart_without_batch_norm(norm: Any) -> None:
    G, D = pair("dcgan", Spec(shape=(1, 28, 28)), norm=norm, dense=8)
    z = torch.randn(5, LATENT)
    fake = G(z, None)
    torch.testing.assert_close(G(z[:2], None), fake[:2])
    torch.testing.assert_close(D(fake[:2], None), D(fake, None)[:2])


@pytest.mark.parametrize(("norm", "kind"), [("batch", "BatchNorm1d"), ("group", "GroupNorm"), ("none", None)])
def test_dcgan_hidden_layers_as_in_the_authors_mnist_networks(norm: Any, kind: str | None) -> None:
    """z -> 1024 -> 128x7x7 -> 64 -> 1, and back: 64, 128x7x7, 1024, 1."""
    spec = Spec(shape=(1, 28, 28))
    G = dcgan.generator(spec, 100, dense=1024, norm=norm)
    D = dcgan.discriminator(spec, dense=1024, norm=norm)
    assert [layer.weight.shape for layer in G if isinstance(layer, nn.Linear)] == [(1024, 100), (128 * 49, 1024)]
    assert [layer.weight.shape for layer in D if isinstance(layer, nn.Linear)] == [(1024, 128 * 49), (1, 1024)]
    normed = [kind] if kind else []
    assert [type(layer).__name__ for layer in G][: 2 + len(normed)] == ["Linear", *normed, "ReLU"]
    assert [type(layer).__name__ for layer in D][-3 - len(normed) :] == ["Linear", *normed, "LeakyReLU", "Linear"]
    assert D(G(torch.randn(3, 100), None), None).shape == (3, 1)


def test_dcgan_size_by_hand() -> None:
    """64x64 in colour at width 128 is the generator of the paper's figure 1: 1024, 512, 256, 128 channels."""
    G = dcgan.generator(Spec(shape=(3, 64, 64)), 100, width=128)
    linear = 100 * 1024 * 16
    convolutions = 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3
    norms = 2 * (1024 + 512 + 256 + 128)
    assert count_parameters(G) == linear + convolutions + norms


# --- primer -----------------------------------------------------------------------------------------------------------


def test_primer_has_the_articles_number_of_weights() -> None:
    """Dense 100 -> 6272; 5x5 128 -> 128, twice; 5x5 128 -> 1; Dense 784 -> 128 -> 1; each with biases."""
    spec = Spec(shape=(1, 28, 28))
    assert count_parameters(primer.generator(spec, 100)) == 633_472 + 2 * 409_728 + 3_201 == 1_456_129
    assert count_parameters(primer.discriminator(spec)) == 100_480 + 129 == 100_609


@pytest.mark.parametrize(("shape", "side"), [((1, 30, 30), 32), ((1, 28, 27), 28), ((3, 2, 2), 4)])
def test_primer_refuses_sides_that_are_no_multiples_of_four(shape: tuple[int, ...], side: int) -> None:
    with pytest.raises(ValueError, match=f"cannot generate {shape[1]}x{shape[2]}.*multiples of 4.*--size {side}"):
        primer.generator(Spec(shape=shape), LATENT)


def test_primer_starts_from_the_articles_seven_by_seven() -> None:
    G = primer.generator(Spec(shape=(1, 28, 28)), 100)
    assert [layer.unflattened_size for layer in G if isinstance(layer, nn.Unflatten)] == [(128, 7, 7)]
    assert [layer.kernel_size for layer in G if isinstance(layer, nn.Conv2d)] == [(5, 5)] * 3


# --- vanilla ----------------------------------------------------------------------------------------------------------


def test_vanilla_maxout_is_the_largest_of_its_maps() -> None:
    unit = Maxout(3, 4, 5)
    x = torch.randn(6, 3)
    maps = [x @ unit.maps.weight[i * 4 : i * 4 + 4].T + unit.maps.bias[i * 4 : i * 4 + 4] for i in range(5)]
    torch.testing.assert_close(unit(x), torch.stack(maps).amax(0))


def test_vanilla_size_by_hand() -> None:
    """The published networks: 100 -> 1200 -> 1200 -> 784, and 784 -> 240x5 -> 240x5 -> 1."""
    spec = Spec(shape=(1, 28, 28))
    assert count_parameters(vanilla.generator(spec, 100)) == 101 * 1200 + 1201 * 1200 + 1201 * 784
    assert count_parameters(vanilla.discriminator(spec)) == 785 * 1200 + 241 * 1200 + 241


def test_vanilla_discriminator_rescales_samples_to_zero_to_one() -> None:
    """As the published code's: so a dropped pixel is a black one, whatever the data's range."""
    x = torch.rand(4, 1, 28, 28)
    logits = []
    for low, high in [(0.0, 1.0), (-1.0, 1.0), (-3.0, 5.0)]:
        torch.manual_seed(1)
        D = vanilla.discriminator(Spec(shape=(1, 28, 28), range=(low, high)), width=4).eval()
        logits.append(D(low + (high - low) * x, None))
    torch.testing.assert_close(logits[1], logits[0])
    torch.testing.assert_close(logits[2], logits[0])


def test_vanilla_drops_units_only_while_training() -> None:
    _, D = pair("vanilla", Spec(shape=(1, 28, 28)))
    x = torch.rand(4, 1, 28, 28)
    assert not torch.equal(D(x, None), D(x, None))
    D.eval()
    assert torch.equal(D(x, None), D(x, None))
    D = vanilla.discriminator(Spec(shape=(1, 28, 28)), width=4, dropout=0.0, input_dropout=0.0)
    assert torch.equal(D(x, None), D(x, None))


@pytest.mark.parametrize("build", [module.discriminator for module in FAMILIES.values()])
def test_discriminators_can_be_differentiated_twice(build: Callable[..., nn.Module]) -> None:
    """As gradient penalties do."""
    D = build(Spec(shape=(1, 28, 28)), width=4)
    x = torch.rand(2, 1, 28, 28, requires_grad=True)
    (gradient,) = torch.autograd.grad(D(x, None).sum(), x, create_graph=True)
    second = torch.autograd.grad(gradient.square().sum(), list(D.parameters()), allow_unused=True)
    assert any(part is not None and part.any() for part in second)
