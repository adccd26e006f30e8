"""The interactive figures of the page, one function each; every point leads to its runs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.record import Record
from stablernn.report.certificate import describe_stability
from stablernn.report.charts import OTHERS, SHADES, Axis, Curve, Figure, panel, point
from stablernn.report.contraction import STAGE_NAMES
from stablernn.report.evidence import Found
from stablernn.report.gradient_horizon import in_order, moments, panels
from stablernn.report.judgement import ids
from stablernn.report.load import Section, setting
from stablernn.report.price import CONSTRAINTS, prices
from stablernn.report.sequences import contexts_of, ratio
from stablernn.report.sweep import sweep_cells
from stablernn.report.tables import APPROXIMATION_NAMES, MODEL_NAMES, STABILITIES, Cell, Row, rows
from stablernn.report.weight_distance import families

_DASHES = {"recurrent": ((1, 0), (9, 3), (7, 2, 2, 2)), "feedforward": ((5, 3), (2, 2), (1, 3))}
_STAGE_DASHES = {"initial": (2, 3), "best": (1, 0), "last": (6, 3)}
_KS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def learning_curves(section: Section) -> Figure | None:
    """Validation perplexity against epochs."""
    body = rows(section)
    by_model: dict[str, list[dict[str, Any]]] = {}
    curves: dict[str, Curve] = {}
    for row in body:
        for stability, cell in sorted(row.cells.items(), reverse=True):
            label = f"{stability}, {APPROXIMATION_NAMES[row.approximation]}, k = {row.k}"
            curves.setdefault(label, Curve(label, stability, _dash(row, body)))
            by_model.setdefault(row.model, []).extend(
                point(label, entry["epoch"], entry["valid_perplexity"], (run.id,))
                for run in cell.finished
                for entry in run.history
                if entry.get("valid_perplexity") is not None
            )
    y = Axis("validation perplexity")
    return _figure(
        f"learning-curves-{section.name}",
        "Learning curves",
        "Validation perplexity after each evaluation.",
        curves,
        {_model(name): (points, Axis("epoch", logarithmic=False), y) for name, points in by_model.items()},
    )


def _dash(row: Row, body: Sequence[Row]) -> tuple[int, ...]:
    """The longest k of an approximation has its plainest line."""
    ks = sorted({other.k for other in body if other.approximation == row.approximation}, reverse=True)
    dashes = _DASHES[row.approximation]
    return dashes[min(ks.index(row.k), len(dashes) - 1)]


def truncation_curves(section: Section, found: Found) -> Figure | None:
    """Perplexity of trained recurrent models that see the last k words alone."""
    curves: dict[str, Curve] = {}
    by_model: dict[str, list[dict[str, Any]]] = {}
    for record, result, colour in _coloured(found):
        points = by_model.setdefault(setting(record, "model.name"), [])
        name, run = _constraint(record), (record.id,)
        ks = result["k"]
        lines = [
            (f"{name}, last k words", (1, 0), ks, result["perplexity"], colour),
            (f"{name}, recurrent", (2, 3), [1, ks[-1]], [result["recurrent"]["perplexity"]] * 2, colour),
        ]
        if result["optimal"]:
            lines.append(("best possible with k words", (1, 0), ks, result["optimal"], "ink"))
        for label, dash, xs, ys, shade in lines:
            curves.setdefault(label, Curve(label, shade, dash))
            points += [point(label, x, y, run) for x, y in zip(xs, ys, strict=True)]
    split = found[0][1]["options"]["split"] if found else "test"
    return _figure(
        f"truncation-{section.name}",
        "Truncated after training",
        "The same weights, seeing the last k words alone, against the recurrent model that sees all of them.",
        curves,
        {
            _model(name): (points, Axis("k (words)", ticks=_KS), Axis(f"{split} perplexity"))
            for name, points in by_model.items()
        },
    )


def gaps(section: Section, found: Found) -> Figure | None:
    """Measured state gap and what is proven of it."""
    curves: dict[str, Curve] = {}
    by_model: dict[str, list[dict[str, Any]]] = {}
    for record, result, colour in _coloured(found):
        points = by_model.setdefault(setting(record, "model.name"), [])
        name, state = _constraint(record), result["state"]
        lines: list[tuple[str, tuple[int, ...], list[float]]] = [
            ("mean gap", (1, 0), state["mean"]),
            ("largest gap", (5, 3), state["largest"]),
        ]
        if result["certified"]["state"]:
            lines.append(("proven bound", (9, 3, 2, 3), result["certified"]["state"]))
        for told, dash, values in lines:
            label = f"{name}, {told}"
            curves.setdefault(label, Curve(label, colour, dash))
            points += [point(label, k, y, (record.id,)) for k, y in zip(result["k"], values, strict=True) if y > 3e-8]
    return _figure(
        f"gaps-{section.name}",
        "How far the truncated state is off",
        "‖h − h⁽ᵏ⁾‖₂ over all positions, measured, and under the proven bound where there is one. Below some 10⁻⁶ "
        "it is rounding of float32.",
        curves,
        {
            _model(name): (points, Axis("k (words)", ticks=_KS), Axis("‖h − h⁽ᵏ⁾‖₂", powers=True))
            for name, points in by_model.items()
        },
    )


def contraction_curves(section: Section, found: Found) -> Figure | None:
    """Largest growth of the distance of two states in r words."""
    curves: dict[str, Curve] = {}
    by_model: dict[str, list[dict[str, Any]]] = {}
    for record, result, colour in _coloured(found):
        points = by_model.setdefault(setting(record, "model.name"), [])
        for stage, values in result["stages"].items():
            if stage == "last" and values["largest"] == result["stages"]["best"]["largest"]:
                continue  # the best epoch was the last
            label = f"{_constraint(record)}, {STAGE_NAMES[stage]}"
            curves.setdefault(label, Curve(label, colour, _STAGE_DASHES[stage]))
            points += [point(label, r, y, (record.id,)) for r, y in enumerate(values["largest"], 1) if y > 1e-6]
    return _figure(
        f"contraction-{section.name}",
        "Contraction on the data",
        "λ_r, the largest growth in r words of the distance of two states that gradient ascent found. Below "
        "the line at 1 the states approach each other.",
        curves,
        {
            _model(name): (points, Axis("r (words)", ticks=_KS), Axis("λᵣ", powers=True))
            for name, points in by_model.items()
        },
        level=1,
    )


def gradient_curves(section: Section, found: Found) -> Figure | None:
    """Mean gradient of the loss by earlier words, through training."""
    labels = in_order(found)
    shades = [SHADES[round(n * (len(SHADES) - 1) / max(len(labels) - 1, 1))] for n in range(len(labels))]
    return _figure(
        f"gradients-{section.name}",
        "How far back gradients reach",
        "Mean norm of the gradient of the loss at t + i by the word at t, from before training (dark) to its end.",
        {label: Curve(label, shade) for label, shade in zip(labels, shades, strict=True)},
        {
            title: (
                [
                    point(moment.label, i, y, (record.id,))
                    for record, result in group
                    for moment in moments(record, result)
                    for i, y in enumerate(moment.values["mean"])
                    if y > 1e-20
                ],
                Axis("i (words)", logarithmic=False),
                Axis("mean gradient", powers=True),
            )
            for title, group in panels(found).items()
        },
    )


def linear_curves(found: Mapping[str, dict[str, Any]]) -> Figure | None:
    """What is left of the error against updates, matrices of each norm."""
    matrices = {name: result for name, result in found.items() if result["options"]["kind"] == "matrix"}
    norms = sorted({result["options"]["norm"] for result in matrices.values()})
    curves: dict[str, Curve] = {}
    points = []
    for name, result in sorted(matrices.items(), key=lambda item: item[1]["options"]["norm"]):
        norm = result["options"]["norm"]
        label = f"‖W‖₂ = {norm:g}"
        shade = SHADES[round(norms.index(norm) * (len(SHADES) - 1) / max(len(norms) - 1, 1))]
        curves.setdefault(label, Curve(label, shade, (5, 3) if norm >= 1 else (1, 0)))
        best = result["best"]
        points += [
            point(label, update, error, (name,))
            for update, error in zip(best["updates"], best["error"], strict=True)
            if error is not None and update > 0
        ]
    return _figure(
        "linear-systems",
        "What gradient descent learns",
        "What is left of the error of predicting 0, at the best of the constant step sizes; dashed from norm 1 on.",
        curves,
        {"Matrices": (points, Axis("update"), Axis("error", powers=True))},
    )


def sweep_curves(section: Section) -> Figure | None:
    """Test perplexity against the k of training."""
    curves: dict[str, Curve] = {}
    by_model: dict[str, list[dict[str, Any]]] = {}
    cells = sweep_cells(section)
    for stability in STABILITIES:
        for (model, constraint, k), by in sorted(cells.items()):
            for approximation in APPROXIMATION_NAMES:
                cell = by.get(approximation, Cell(()))
                if constraint != stability or not cell.values:
                    continue
                label = f"{stability}, {APPROXIMATION_NAMES[approximation]}"
                curves.setdefault(label, Curve(label, stability, _DASHES[approximation][0]))
                mean, more = statistics.mean(cell.values), {}
                if len(cell.values) > 1:
                    spread = statistics.stdev(cell.values)
                    more = {"low": mean - spread, "high": mean + spread, "spread": f"{spread:.1f}"}
                made = point(label, k, mean, ids(cell.runs), line=label, **more)
                by_model.setdefault(model, []).append(made)
    ticks = tuple(sorted({k for _, _, k in cells}))
    return _figure(
        f"sweep-{section.name}",
        "Trained at k",
        "Recurrent models trained with k steps of backpropagation, feed-forward models with k words of context.",
        curves,
        {
            _model(name): (by_model[name], Axis("k in training", ticks=ticks), Axis("test perplexity"))
            for name in sorted(by_model, key=_rank)
        },
        dots=True,
    )


def distance_curves(section: Section, found: Found) -> Figure | None:
    """How far the weights of different k come apart."""
    if not found:
        return None
    reference = found[0][1]["options"]["reference"]
    ks = sorted({setting(record, "truncation.k") for record, _ in found} - {reference})
    shades = {k: SHADES[round(n * (len(SHADES) - 1) / max(len(ks) - 1, 1))] for n, k in enumerate(ks)}
    curves = {f"k = {k}": Curve(f"k = {k}", shades[k]) for k in ks}
    moved = f"way of k = {reference} itself"
    curves[moved] = Curve(moved, "ink", (2, 3))
    panels: dict[str, tuple] = {}
    for (model, stability, lr), group in families(found).items():
        points = []
        for record, result in group:
            k = setting(record, "truncation.k")
            if k != reference:
                points += [
                    point(f"k = {k}", x, y, (record.id,))
                    for x, y in zip(result["updates"], result["distance"], strict=True)
                ]
        last, result = group[-1]
        points += [
            point(moved, x, y, (last.id,)) for x, y in zip(result["updates"], result["reference_moved"], strict=True)
        ]
        panels[f"{_model(model)}, {stability}, learning rate {lr:g}"] = (
            points,
            Axis("update", logarithmic=False),
            Axis("distance (Frobenius)", powers=True),
        )
    return _figure(
        f"distance-{section.name}",
        "Distance of the weights in training",
        f"‖W_k − W_{reference}‖_F of feed-forward models that start from the same weights and see the same batches.",
        curves,
        panels,
    )


def price_curves(section: Section) -> Figure | None:
    """Test perplexity against the certified rate, constraint by constraint."""
    found = prices(section)
    curves: dict[str, Curve] = {}
    panels: dict[str, tuple] = {}
    for model in dict.fromkeys(price.model for price in found):
        here = [price for price in found if price.model == model and price.cell.values]
        certified = [1 - max(price.rates) for price in here if price.rates]
        if not certified:
            continue
        points = []
        names = list(CONSTRAINTS)
        for price in here:
            mean = statistics.mean(price.cell.values)
            label = CONSTRAINTS.get(price.constraint, price.constraint)
            place = names.index(price.constraint) if price.constraint in names else 0
            colour = price.constraint if price.constraint in STABILITIES else OTHERS[place % len(OTHERS)]
            if price.constraint == "unstable":
                ends = (min(certified), max(certified)) if len(certified) > 1 else (certified[0] / 2, certified[0] * 2)
                points += [point(label, x, mean, ids(price.runs), line=label) for x in ends]
            elif price.rates:
                points.append(point(label, 1 - max(price.rates), mean, ids(price.runs), line=label))
            else:
                continue
            curves.setdefault(label, Curve(label, colour, (2, 3) if price.constraint == "unstable" else (1, 0)))
        panels[_model(model)] = (
            points,
            Axis("1 − λ, certified (longer memory to the right)", powers=True, reverse=True),
            Axis("test perplexity"),
        )
    return _figure(
        f"price-{section.name}",
        "What stability costs",
        "Test perplexity against the certified rate of contraction; what is not certified is in the table alone.",
        curves,
        panels,
        dots=True,
    )


def speed_curves(file: str, measured: Mapping[str, Any]) -> Figure | None:
    """Times as fast as the recurrent model against the length of the sequence."""
    cases = list(measured["cases"].values())
    ks = sorted({k for case in cases for k in contexts_of(case)})
    batches = sorted({case["batch"] for case in cases})
    curves: dict[str, Curve] = {}
    panels: dict[str, tuple] = {}
    for case in sorted(cases, key=lambda case: (case["work"], _rank(case["model"]), case["steps"])):
        title = f"{_model(case['model'])}, {case['work']}"
        points = panels.setdefault(title, ([], Axis("steps of the sequence"), Axis("times as fast as recurrent")))[0]
        for k in contexts_of(case):
            value = ratio(measured, case, k, whole=True)
            if value is not None:
                label = f"k = {k}, batch {case['batch']}"
                dash = ((1, 0), (6, 3), (2, 3))[min(batches.index(case["batch"]), 2)]
                curves.setdefault(label, Curve(label, SHADES[round(ks.index(k) * 7 / max(len(ks) - 1, 1))], dash))
                points.append(point(label, case["steps"], value, (file,), line=label))
    return _figure(
        f"speed-{file.removesuffix('.json')}",
        f"Speed on {measured['hardware']}",
        "Feed-forward against recurrent, whole models with their softmax; above the line at 1 feed-forward is faster.",
        curves,
        panels,
        level=1,
        dots=True,
    )


def _figure(
    name: str,
    title: str,
    caption: str,
    curves: Mapping[str, Curve],
    panels: Mapping[str, tuple[Sequence[dict[str, Any]], Axis, Axis]],
    **options: Any,
) -> Figure | None:
    drawn = {head: content for head, content in panels.items() if content[0]}
    if not drawn:
        return None
    known = tuple(curves.values())
    made = tuple((head, panel(points, known, x, y, **options)) for head, (points, x, y) in drawn.items())
    return Figure(name, title, caption, known, made)


def _coloured(found: Found) -> list[tuple[Record, dict[str, Any], str]]:
    """Runs in the order of the tables with the colour of their constraint."""
    ordered = sorted(found, key=lambda entry: (_rank(setting(entry[0], "model.name")), _constraint_rank(entry[0])))
    others = dict.fromkeys(
        name for record, _ in ordered if (name := setting(record, "stability.name")) not in STABILITIES
    )
    colours = dict(zip(others, OTHERS * (1 + len(others) // len(OTHERS)), strict=False))
    return [
        (record, result, colours.get(name, name))
        for record, result in ordered
        for name in [str(setting(record, "stability.name"))]
    ]


def _constraint(record: Record) -> str:
    """Its name, with the limit where it is not the study's."""
    name = setting(record, "stability.name")
    return name if name in STABILITIES else describe_stability(record)


def _constraint_rank(record: Record) -> tuple[int, str]:
    name = setting(record, "stability.name")
    return (STABILITIES.index(name) if name in STABILITIES else len(STABILITIES)), record.id


def _rank(model: str) -> int:
    return list(MODEL_NAMES).index(model) if model in MODEL_NAMES else len(MODEL_NAMES)


def _model(name: str) -> str:
    return MODEL_NAMES.get(name, name)
