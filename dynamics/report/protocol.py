"""The methods paragraph of a report, and what it refers to, from what the store says it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.emergence import Scheme
from dynamics.emergence.aggregate import resampled
from dynamics.emergence.curves import scored
from dynamics.emergence.population import listed, populations
from dynamics.emergence.remarks import about_edges, about_shared, why_no_intervals, with_gaps
from dynamics.report.findings import Found, Result
from dynamics.report.numbers import counted, unit, units
from dynamics.store.attributes import mapping
from dynamics.store.components import KEPT, Kept, in_words

REFERENCES = {
    "kriegeskorte": "Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis, "
    "Frontiers in Systems Neuroscience 2:4, doi:10.3389/neuro.06.004.2008",
    "kornblith": "Kornblith, Norouzi, Lee & Hinton (2019), Similarity of neural network "
    "representations revisited, arXiv:1905.00414",
    "williams": "Williams, Kunz, Kornblith & Linderman (2021), Generalized shape metrics on neural "
    "representations, arXiv:2110.14739",
    "raghu": "Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), SVCCA, arXiv:1706.05806",
    "morcos": "Morcos, Raghu & Bengio (2018), Insights on representational similarity in neural "
    "networks with canonical correlation, arXiv:1806.05759",
    "huh": "Huh, Cheung, Wang & Isola (2024), The Platonic Representation Hypothesis, "
    "arXiv:2405.07987",
    "king": "King & Dehaene (2014), Characterizing the dynamics of mental representations: the "
    "temporal generalization method, Trends in Cognitive Sciences 18:203, "
    "doi:10.1016/j.tics.2014.01.002",
    "lebel": "LeBel, Wagner, Jain et al. (2023), A natural language fMRI dataset for voxelwise "
    "encoding models, Scientific Data 10:555, doi:10.1038/s41597-023-02437-z",
    "li": "Li et al. (2023), Dissecting neural computations in the human auditory pathway using "
    "deep neural networks for speech, Nature Neuroscience 26:2213, doi:10.1038/s41593-023-01468-4",
    "schoppe": "Schoppe, Harper, Willmore, King & Schnupp (2016), Measuring the performance of "
    "neural models, Frontiers in Computational Neuroscience 10:10, doi:10.3389/fncom.2016.00010",
    "hsu": "Hsu, Borst & Theunissen (2004), Quantifying variability in neural responses and its "
    "application for the validation of model predictions, Network 15:91",
    "pepino": "Pepino et al. (2025), arXiv:2511.16849",
    "tuckute": "Tuckute, Feather et al. (2023), PLoS Biology 21(12):e3002366",
    "chi": "Chi, Ru & Shamma (2005), Multiresolution spectrotemporal analysis of complex sounds, "
    "Journal of the Acoustical Society of America 118:887, doi:10.1121/1.1945807",
    "raugel": "Raugel et al. (2025), arXiv:2508.18226",
    "fieller": "Fieller (1954), Some problems in interval estimation, Journal of the Royal "
    "Statistical Society B 16:175",
    "fisher": "Fisher (1921), On the probable error of a coefficient of correlation deduced from a "
    "small sample, Metron 1:3",
    "satterthwaite": "Satterthwaite (1946), An approximate distribution of estimates of variance "
    "components, Biometrics Bulletin 2:110, doi:10.2307/3002019",
    "westfall": "Westfall & Young (1993), Resampling-based multiple testing, Wiley",
    "zou": "Zou & Donner (2008), Construction of confidence limits about effect measures, "
    "Statistics in Medicine 27:1693, doi:10.1002/sim.3095",
    "holm": "Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian "
    "Journal of Statistics 6:65",
    "shao": "Shao & Wu (1989), A general theory for jackknife variance estimation, Annals of "
    "Statistics 17:1176, doi:10.1214/aos/1176347263",
    "neuron2015": "Norman-Haignere, Kanwisher & McDermott (2015), Distinct cortical pathways for "
    "music and speech revealed by hypothesis-free voxel decomposition, Neuron 88:1281, "
    "doi:10.1016/j.neuron.2015.11.035",
    "ecog2022": "Norman-Haignere et al. (2022), A neural population selective for song in human "
    "auditory cortex, Current Biology 32:1470, doi:10.1016/j.cub.2022.01.069",
}
_OF_TARGET = {"nh2015": "neuron2015", "nh2022": "ecog2022"}

_PROBE = (
    "“{label}” is a downstream task, learned on the frozen activations of each layer and scored on "
    "sounds that were held out"
)


def paragraphs(tree: xr.DataTree, found: Found) -> tuple[list[str], list[str]]:
    """Write what was done, from the attributes of a store and of its results.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    found : list of (Result, list of Curve)
        Results with their curves.

    Returns
    -------
    paragraphs : list of str
        Activations, metrics, statistics, intervals: what applies.
    references : list of str
        What the paragraphs cite.
    """
    cited: dict[str, None] = {}
    written = [_activations(tree)]
    if found:
        written += [
            _metrics(found, cited),
            *filter(None, [_gaps(found), _edges(found), _shared(found)]),
        ]
        written += [_statistics(found, cited)]
        written += [text] if (text := _intervals(found, cited)) else []
        for result, _ in found:
            name = str(result.identity.get("target", result.target))
            key = next((ref for start, ref in _OF_TARGET.items() if name.startswith(start)), None)
            if key:
                cited[key] = None
    return written, sorted(REFERENCES.get(key, key) for key in cited)


def _activations(tree: xr.DataTree) -> str:
    own = mapping(tree.attrs.get("identity"))
    return (
        f"Every checkpoint of run {tree.attrs.get('run', '?')} was read by the adapter "
        f"{own.get('adapter', '?')}{_arguments(own.get('arguments'))} and heard the stimuli "
        f"{_choice(own.get('stimuli', '?'))}; the pooling of every layer's activations over time "
        f"is {_choice(own.get('pooling', '?'))}.{_windows(own.get('windows'))}"
        f"{_positions(tree.attrs.get('positions'))}"
        f"{_components(tree)} Layers and responses are joined by the names of the stimuli."
    )


def _windows(own: Mapping[str, float] | None) -> str:
    if not own:
        return ""
    context, stride, lookahead = (own[key] for key in ("context", "stride", "lookahead"))
    return (
        f" Sounds of more than {context + stride + lookahead:g} s were heard through windows: what "
        f"a layer makes of {stride:g} s comes from these, the {context:g} s before and the "
        f"{lookahead:g} s after them, so that nothing depends on what is more than "
        f"{stride + lookahead:g} s later."
    )


def _positions(said: str | None) -> str:
    return f" {said[0].upper()}{said[1:]}." if said else ""


def _components(tree: xr.DataTree) -> str:
    kept = {}
    for layer, node in tree["activations"].children.items() if "activations" in tree else ():
        if (share := node.dataset.get(KEPT)) is not None and share.size:
            size = node.dataset["activation"].sizes["feature"]
            kept[layer] = Kept(int(share.attrs["features"]), size, float(share.min()))
    if not kept:
        return ""
    return (
        " What is compared of every layer are its leading principal components, fitted at every "
        f"{unit()} on the centred activations of that {unit()} over all stimuli and samples: "
        f"{in_words(kept)}."
    )


def _metrics(found: Found, cited: dict[str, None]) -> str:
    said = {}
    for result, _ in found:
        own = result.identity
        name, arguments = str(own.get("metric", "")), dict(own.get("arguments") or {})
        text, references = _sentence(name, arguments, result.data)
        sentence = counted(text).format_map(
            _Words(_defaults(name) | arguments | {"label": result.metric})
        )
        said[result.metric] = f"{sentence}{_arguments(arguments, ', with ')}."
        if details := str(result.data.attrs.get("details", "")):
            said[result.metric] += f" {counted(details)}"
        cited.update(dict.fromkeys(str(result.data.attrs.get("cites", "")).split()))
        if "value_name" in result.data.attrs:
            said[result.metric] += (
                f" What is shown of “{result.metric}” is {result.data.attrs['value_name']}: its "
                f"statistics, intervals, baseline and ceiling are those of "
                f"`{result.data.attrs['value']}`."
            )
        if left_out := result.data.attrs.get("left_out"):
            said[result.metric] += (
                f" {left_out}; averages are those of r² over those of the reliability, where most "
                "neuroids have both."
            )
        cited.update(dict.fromkeys(references))
    base = next((r.identity.get("baseline") for r, _ in found if r.identity.get("baseline")), None)
    text = " ".join(said.values())
    if base and any("baseline" in curves[0].statistics.attrs for _, curves in found):
        text += f" The baseline without learning, {base['name']}, is scored like a layer."
        if base["name"] == "spectrotemporal":
            text = text.removesuffix(".") + " (after Chi et al. 2005)."
            cited["chi"] = None
    return text


def _gaps(found: Found) -> str:
    """Say what of each target was missing or left out."""
    said = {
        f"In {result.target}: {_safe(gaps)}.": None
        for result, _ in found
        if (gaps := str(result.data.attrs.get("gaps", "")))
    }
    for result, _ in found:
        if number := with_gaps(scored(result.data)):
            total = result.data.sizes.get("neuroid", result.data.sizes.get("subject", 0))
            said[
                f"By “{_safe(result.metric)}” {number} of {total} in {result.target} have a score "
                f"at some {units()} only; means at the other {units()} are over those that have "
                "one."
            ] = None
    return " ".join(said)


def _edges(found: Found) -> str:
    """Say where penalties lie at an edge of those that were tried."""
    said = {
        f"In {result.target} by “{result.metric}”, {edges}.": None
        for result, _ in found
        if (edges := about_edges(result.data))
    }
    return " ".join(said)


def _shared(found: Found) -> str:
    """Say how much of scores a time course that all stimuli share predicts by itself."""
    said = {
        f"In {result.target} by “{result.metric}”, {shared}.": None
        for result, _ in found
        if (shared := about_shared(result.data))
    }
    return " ".join(said)


def _sentence(
    name: str, arguments: Mapping[str, Any], results: xr.Dataset
) -> tuple[str, tuple[str, ...]]:
    """Return what a metric says of itself, and what it cites."""
    if name == "probe":
        return _PROBE, ()
    if name in METHODS:
        own = METHODS[name].by(arguments)
        return own.sentence or f"“{{label}}” is {_braced(own.axis)}", own.citations
    own_words = str(results.attrs.get("sentence", ""))
    axis = results.attrs.get("score_name", f"the metric {name}")
    return own_words or f"“{{label}}” is {_braced(str(axis))}", ()


def _braced(text: str) -> str:
    return _safe(text).replace("{", "{{").replace("}", "}}")


def _defaults(name: str) -> dict[str, Any]:
    found = analysis.arguments(name) if name in METHODS else {}
    return found | ({"compare": "Spearman"} if found.get("compare") == "spearman" else {})


class _Words(dict):
    """Words of a sentence; one that there is not stays as it is written."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


def _statistics(found: Found, cited: dict[str, None]) -> str:
    cited["raugel"] = None
    return counted(
        "Curves are means over neuroids, within each subject first. Gains count from the first "
        "step of a curve to its last. The half-time is the first step at which a curve has made "
        "half of its gain (Raugel et al. 2025), the onset that of a tenth of the gain to its "
        "highest score, the plateau the mean over the last factor of ten in training steps and its "
        "beginning the step at "
        "which nine tenths of the gain to it are made; between two steps a curve is linear in "
        "log(1 + step). The area is the mean gain over log(1 + step). The best layer of a curve is "
        "the one that ends highest. It is chosen on the same stimuli, so its last score and gain "
        "are optimistic, by up to two standard errors where many layers are alike; its limits are "
        "made so wide that those of all layers hold at once, and its p values are of the largest "
        "over all layers (Westfall & Young). “No gain” is a curve that does not end above its "
        "first step, “still rising” one that makes nine tenths of its gain only within the last "
        "factor of ten."
    )


def _intervals(found: Found, cited: dict[str, None]) -> str:
    withs = [(result, curves[0]) for result, curves in found if curves[0].resampled is not None]
    lacking = _lacking(found)
    if not withs:
        return (
            "There are no intervals: the results hold no scores on resamples of the stimuli "
            f"(`resamples` in the sweep). {lacking}"
        ).rstrip()
    over = listed(sorted({curve.over for _, curve in withs}))
    cited.update(dict.fromkeys(("fieller", "westfall", "zou", "holm")))
    alike: dict[str, dict[str, None]] = {}
    for result, _ in withs:
        alike.setdefault(_resamples(result, cited), {})[result.metric] = None
    made = [text.format(label=listed(list(metrics))) for text, metrics in alike.items()]
    people = (
        " Where there are three or more subjects, what other people would change is added "
        "(Satterthwaite)."
        if any("subjects" in curve.over for _, curve in withs)
        else ""
    )
    if people:
        cited["satterthwaite"] = None
    exact = _exact([result.data for result, _ in withs])
    return (
        f"Square brackets hold 95 % intervals over {over}. {' '.join(made)}{people} "
        f"{counted('Limits of a step')} invert tests along the curve: they reach from "
        "the estimate back as far as the "
        f"curve is not significantly below its goal, and on to the first {unit()} at which it is "
        "significantly above. Where the gain itself is not significant (one-sided, at 5 %) the "
        f"interval is open above, [{unit()}, ∞), as Fieller's interval of a ratio is; such an "
        "onset or half-time should not be quoted without it. So is that of a plateau which may "
        "begin only within the last factor of ten. Whether a curve leaves its first level, and "
        f"whether it declines after its peak, is tested by the largest contrast over all {units()} "
        "(Westfall & Young); differences of half-times have limits after Zou & Donner and p "
        "values, at least those of the earlier curve having no gain, corrected by Holm's method. "
        "The limits around a curve are pointwise. "
        f"{exact} {populations(curve.over for _, curve in withs)} What another initialisation "
        "would do takes several runs to know." + (f" {lacking}" if lacking else "")
    )


def _lacking(found: Found) -> str:
    """Say what has no intervals, and why."""
    said = {
        f"“{result.metric}” has no intervals in {result.target}: {why}."
        for result, _ in found
        if (why := why_no_intervals(result.data))
    }
    said |= {
        f"Single neuroids of {result.target} have no intervals by “{result.metric}”: {why}."
        for result, _ in found
        if (why := str(result.data.attrs.get("no_intervals_of_neuroids", "")))
    }
    return " ".join(sorted(said))


def _exact(results: list[xr.Dataset]) -> str:
    """Say which levels count as exact."""
    based = [data for data in results if "baseline" in data]
    if not based:
        return "The noise ceiling counts as exact."
    if all(resampled(data, of="baseline") is not None for data in based):
        return "The baseline was scored on the same resamples; the noise ceiling counts as exact."
    return "The baseline and the noise ceiling count as exact."


def _resamples(result: Result, cited: dict[str, None]) -> str:
    """Say how the resamples of a result were made and what errors are made of them."""
    again = resampled(result.data)
    assert again is not None  # the curves of the result have resamples
    scheme, number = Scheme.of(again), again.sizes["resample"]
    seed = _safe(str(result.identity.get("seed", "?")))
    if method := again.attrs.get("method"):
        return f"By {{label}}: {number} resamples, {_safe(str(method))} (seed {seed})."
    if not scheme.paired:
        cited["shao"] = None
        return (
            f"Every score by {{label}} was computed again on {number} resamples of the "
            f"stimuli (seed {seed}), their variance multiplied by {scheme.variance_factor:.3g}."
        )
    units = _safe(str(result.data.attrs.get("halves", "stimuli")))
    said = (
        f"Every score by {{label}} was computed again, refitted, on {number} complementary "
        f"halves of the {units} (seed {seed}), the same ones for every {unit()}, layer and target, "
        "so that differences are paired. Half of the squared difference of two halves is the "
        f"variance at half of the {units}, and half of that the variance at all of them"
    )
    if scheme.correlation:
        cited["fisher"] = None
        said += "; errors of correlations r are brought to the full sample's 1 − r² (Fisher)"
    if scheme.variance_factor > 1:
        said += f" and multiplied by {scheme.variance_factor**0.5:.2f}"
    return f"{said}."


def _arguments(arguments: Mapping[str, Any] | None, before: str = " with ") -> str:
    if not arguments:
        return ""
    return before + listed([f"{key} = {_plain(value)}" for key, value in arguments.items()])


def _choice(value: Any) -> str:
    """Name an entry of a table, with its arguments where it has any."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, arguments),) = value.items()
        return f"{name}{_arguments(arguments)}"
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _safe(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
