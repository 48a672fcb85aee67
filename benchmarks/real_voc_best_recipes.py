"""The recipes of `benchmarks.real_voc_best`: the CAMs of one method, refined in the ways of another.

A recipe is the stages of a seed's own recipe up to its CAMs, and the stages behind the CAMs of `real_voc.yaml` (IRN's
walk, WSGCN-I) or of `real_voc_p.yaml` (PSA's walk, WSGCN-P). No value is written here: where a recipe changes, so does
what is made of it, and equal stages have equal fingerprints and are done once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.real_voc import weights
from wsss_jobs.comparison.config import Comparison, Method, Variant, load_comparison
from wsss_jobs.config.overrides import apply_overrides
from wsss_jobs.config.yaml_files import parse_yaml

FOLDER = Path(__file__).parent
NAME = "real_voc_best"
DESCRIPTION = "Each way of making CAMs with each way of refining them, on a small part of VOC 2012, MobileNetV2."
CAMS = "infer_cams"
"""Name of the stage that makes the CAMs, in every recipe; names are no part of a fingerprint."""

_MAKE_CAMS = ("infer_cams", "infer_groupwise_cams")


@dataclass(frozen=True)
class Seed:
    """A method that makes CAMs.

    Attributes:
        title: What people call it.
        comparison: In this folder, which has it as a variant: so its stages are those that were made there.
        variant: Its name there.
        own_thresholds: Whether the recipe's thresholds behind the CAMs were made for it.
    """

    title: str
    comparison: str
    variant: str
    own_thresholds: bool = False


@dataclass(frozen=True)
class Chain:
    """The stages behind the CAMs.

    Attributes:
        recipe: In this folder.
        set: Changes to it.
        products: Name of a product -> what people call it, and the step.
    """

    recipe: str
    products: Mapping[str, tuple[str, str]]
    set: tuple[str, ...] = ()


def _with_crf(name: str, title: str, stage: str) -> dict[str, tuple[str, str]]:
    return {name: (title, f"{stage}/before_crf"), f"{name}_crf": (f"{title} + CRF", stage)}


SEEDS = {
    "cam": Seed("CAM", "real_voc_compare", "wsgcn_i", own_thresholds=True),
    "acr": Seed("ACR", "real_voc_acr", "adversarial_srf"),
    "groupwise": Seed("group-wise", "real_voc_groupwise", "full"),
    "isim": Seed("ISIM", "real_voc_isim", "deeplabcam"),
}
BEST_THRESHOLD = "best_threshold"
"""The product whose threshold is chosen with the truth: for the table, and not to choose a combination by."""

CHAINS = {
    "i": Chain(
        "real_voc.yaml",
        {
            BEST_THRESHOLD: ("best threshold", CAMS),
            **_with_crf("alone", "alone", "cam_masks"),
            **_with_crf("irn_walk", "IRN walk", "walk_masks"),
            **_with_crf("wsgcn_i", "WSGCN-I", "gcn_masks"),
        },
    ),
    "p": Chain(
        "real_voc_p.yaml",
        _with_crf("psa_walk", "PSA walk", "walk_masks") | _with_crf("wsgcn_p", "WSGCN-P", "gcn_masks"),
    ),
    "p_tuned": Chain(
        "real_voc_p.yaml",
        _with_crf("psa_walk_tuned", "PSA walk, tuned", "walk_masks"),
        load_comparison(str(FOLDER / "real_voc_compare.yaml")).variants["psa_walk_tuned"].set,
    ),
}


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the weights of all networks are, as overrides of the recipes."""
    networks = (
        "train_classifier.classifier",
        "train_affinity",
        "train_acr.classifier",
        "train_acr.reconstructor",
        "train_groupwise.network",
        "isim.training.network.classifier",
    )
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        *(f"stages.{network}.encoder.weights={weights(data)}" for network in networks),
    ]


def best_comparison(folder: Path, seeds: Sequence[int]) -> Comparison:
    """Returns the comparison of all combinations, after its recipes were written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    variants, methods = {}, {}
    for seed_name, seed in SEEDS.items():
        for chain_name, chain in CHAINS.items():
            variant = f"{seed_name}_{chain_name}"
            path = folder / f"{variant}.yaml"
            path.write_text(yaml.safe_dump(composed(seed, chain), sort_keys=False))
            variants[variant] = Variant(recipe=str(path.resolve()), set=chain.set)
            for name, (title, step) in chain.products.items():
                methods[f"{seed_name}_{name}"] = Method(title=f"{seed.title}, {title}", variant=variant, step=step)
    return Comparison(name=NAME, description=DESCRIPTION, seeds=tuple(seeds), variants=variants, methods=methods)


def composed(seed: Seed, chain: Chain) -> dict[str, Any]:
    """Returns the recipe of a seed's stages up to its CAMs and a chain's behind them."""
    variant = load_comparison(str(FOLDER / f"{seed.comparison}.yaml")).variants[seed.variant]
    first = apply_overrides(parse_yaml(Path(variant.recipe).read_text(), variant.recipe), variant.set)
    then = parse_yaml((FOLDER / chain.recipe).read_text(), chain.recipe)
    head, rest = first["stages"][: _cams_end(first)], then["stages"][_cams_end(then) :]
    head[-1] = head[-1] | {"name": CAMS}
    return first | {"name": NAME, "description": f"{seed.title}, {chain.recipe}", "stages": [*head, *rest]}


def _cams_end(recipe: Mapping[str, Any]) -> int:
    """Returns the place behind the last stage that makes CAMs."""
    return max(index for index, entry in enumerate(recipe["stages"], 1) if entry["stage"] in _MAKE_CAMS)
