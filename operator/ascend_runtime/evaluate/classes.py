"""Classification in numbers: precision, recall and F1 by class, confusion matrix, ROC curves (scikit-learn)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as sk

from ascend_runtime.evaluate.results import Answer, SuiteResult

UNREAD = ""
"""Stands for the label of an answer that names none: a column of the confusion matrix, no class."""
_CURVE_POINTS = 200
"""Most points of a ROC curve that is kept for the plot."""


@dataclass(frozen=True)
class ClassNumbers:
    """One class: the share of its answers that are right, the share of its texts that were found, both together."""

    precision: float
    recall: float
    f1: float
    support: int
    """Texts of this class that were answered."""
    auc: float | None
    """Area under the class's ROC curve; None when it cannot be had."""


@dataclass(frozen=True)
class Curve:
    """A ROC curve: false against true positive rate."""

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]


@dataclass(frozen=True)
class Classes:
    """A classification's numbers; failed requests are in none of them."""

    labels: tuple[str, ...]
    by_label: Mapping[str, ClassNumbers]
    macro: tuple[float, float, float]
    """Mean of precision, recall and F1 over the classes that occur."""
    micro: tuple[float, float, float]
    """Precision, recall and F1 of all decisions together; an unread answer costs recall, not precision."""
    confusion: tuple[tuple[int, ...], ...]
    """A row for each right label, a column for each given one, and a last column for answers that name none."""
    curves: Mapping[str, Curve]
    auc: float | None
    """Mean of the classes' areas."""
    without_shares: int
    """Answers for which the server gave no probabilities of the options."""

    def metrics(self, suite: str) -> dict[str, float]:
        """Return flat metrics; `f1`, `precision` and `recall` are the macro ones."""
        found: dict[str, float | None] = dict(zip(("precision", "recall", "f1"), self.macro, strict=True))
        found |= dict(zip(("micro.precision", "micro.recall", "micro.f1"), self.micro, strict=True))
        found["auc"] = self.auc
        for label, numbers in self.by_label.items():
            found |= {f"class.{label}.{key}": getattr(numbers, key) for key in ("precision", "recall", "f1", "auc")}
        return {f"{suite}.{key}": float(value) for key, value in found.items() if value is not None}


def classes_of(result: SuiteResult) -> Classes | None:
    """Return a classification's numbers; None when no answer came back."""
    answered = [answer for answer in result.answers if answer.mark is not None]
    if not answered:
        return None
    labels = result.suite.labels
    right = [answer.question.gold[0] for answer in answered]
    given = [_given(answer) for answer in answered]
    occurring = [label for label in labels if label in set(right)]
    each = sk.precision_recall_fscore_support(right, given, labels=list(labels), zero_division=0.0)
    curves, areas = _curves(answered, occurring)
    numbers = {
        label: ClassNumbers(float(p), float(r), float(f), int(n), areas.get(label))
        for label, p, r, f, n in zip(labels, *each, strict=True)
    }
    return Classes(
        labels=labels,
        by_label=numbers,
        macro=_average(right, given, occurring, "macro"),
        micro=_average(right, given, list(labels), "micro"),
        confusion=_confusion(right, given, labels),
        curves=curves,
        auc=sum(areas.values()) / len(areas) if areas else None,
        without_shares=sum(not answer.mark.shares for answer in answered if answer.mark),
    )


def _given(answer: Answer) -> str:
    return (answer.mark.given if answer.mark else None) or UNREAD


def _average(right: list[str], given: list[str], labels: list[str], how: str) -> tuple[float, float, float]:
    p, r, f, _ = sk.precision_recall_fscore_support(right, given, labels=labels, average=how, zero_division=0.0)
    return float(p), float(r), float(f)


def _confusion(right: list[str], given: list[str], labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    matrix = sk.confusion_matrix(right, given, labels=[*labels, UNREAD])[:-1]
    return tuple(tuple(int(count) for count in row) for row in matrix)


def _curves(answered: list[Answer], labels: list[str]) -> tuple[dict[str, Curve], dict[str, float]]:
    """Return ROC curve and area of each class against the rest, from the answers that came with probabilities."""
    shared = [
        (answer.question.gold[0], answer.mark.shares) for answer in answered if answer.mark and answer.mark.shares
    ]
    curves, areas = {}, {}
    for label in labels:
        is_label = np.array([right == label for right, _ in shared])
        if not is_label.any() or is_label.all():
            continue
        weight = np.array([shares.get(label, 0.0) for _, shares in shared])
        false, true, _ = sk.roc_curve(is_label, weight)
        areas[label] = float(sk.auc(false, true))
        kept = np.unique(np.linspace(0, len(false) - 1, min(len(false), _CURVE_POINTS)).astype(int))
        curves[label] = Curve(tuple(map(float, false[kept])), tuple(map(float, true[kept])))
    return curves, areas
