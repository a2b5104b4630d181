"""How the numbers were made, and what the words mean. Says nothing of any result."""

from __future__ import annotations

from reports.blocks import Column, Section, Table, Words
from reports.intervals import DRAWS, FEWEST_UNITS
from reports.scores import FEWEST, SCORER
from reports.study import Study
from reports.tables import FEWEST_IN_GROUP


def section(study: Study) -> Section:
    """Protocol, stamps, glossary."""
    blocks = [Words(line) for line in PROTOCOL]
    others = sorted({s.evaluation.scorer for s in study.scored} - {SCORER})
    if others:
        blocks.append(
            Words(f"Some cards name another revision of the scores ({', '.join(others)}); all are made afresh here.")
        )
    stamps = study.stamps(study.rows)
    stamped = [[stamp, study.meanings.get(stamp, "no meaning was handed over")] for stamp in stamps]
    tables = [Table("Stamps in this report.", [Column("stamp"), Column("meaning")], [("", stamped)])] if stamps else []
    glossary = Table("Glossary.", [Column("word"), Column("meaning")], [("", [list(pair) for pair in GLOSSARY])])
    return Section("protocol", "Protocol and glossary", [*blocks, *tables, glossary])


PROTOCOL = (
    "A frozen encoder sees every image once; heads are fitted on its stored features. A head is fitted on train rows "
    "and chosen on validation rows; test rows are predicted once, after the fit, and choose nothing: no epoch, no "
    "setting, no head.",
    "Groups (a reference or photograph with all its copies) never stand on two sides of a split, unless a row is "
    "stamped LEAKY. A test on another dataset takes the rows named in the table.",
    f"Scores are made from the prediction files, revision {SCORER} of the scorer, in float64. Rows without a finite "
    f"label and a finite prediction are counted and shown, and are in no score; fewer than {FEWEST} rows, or a side "
    "that is all equal, have no correlation.",
    "Fitted PLCC: after a logistic curve with four parameters, y = (b1 − b2) / (1 + exp(−(x − b3) / |b4|)) + b2, by "
    "least squares on these same test labels, which flatters; a straight line where no logistic is better. It is "
    "negative where the curve falls, so that a head that orders images upside down is seen. "
    "Where predictions are weak or rows few, the curve can become a step that flatters much: read it beside the raw "
    "value.",
    f"Intervals: 95% percentile bootstrap, {DRAWS:,} draws with a fixed seed. Where images come in groups, whole "
    f"groups are drawn. Fewer than {FEWEST_UNITS} images or groups give none. They cover the choice of test images, "
    "not the choice of train images or seeds; the spread over splits shows some of that, and splits share train "
    "images, so it is no interval.",
    f"SRCC within: groups of {FEWEST_IN_GROUP} scored rows at least, the mean by Fisher's z over two groups at least, "
    "and the median of the same groups.",
)

GLOSSARY = (
    ("SRCC", "Spearman's rank correlation, mid-ranks for ties: are images put in the right order?"),
    ("PLCC raw", "Pearson's correlation of label and prediction as they are"),
    ("PLCC fitted", "Pearson's correlation after the fitted curve"),
    ("KRCC", "Kendall's tau-b: right pairs less wrong pairs, with ties allowed for"),
    ("RMSE", "root mean squared error of the predictions as they are, in quality"),
    ("MOS, DMOS", "mean opinion score of people, and its difference form, as published"),
    ("proxy", "a label that a formula gave, not people"),
    ("quality", "the working label, higher is better: 0–1 by the declared range of a closed scale"),
    ("view", "the geometry in which an image goes into the encoder (after the @)"),
    ("feature", "tap:what: a named place in the encoder, and the map or summary taken there"),
    ("run", "one fit of one head on one split"),
    (
        "median over runs",
        "half of the runs are better, half are worse; of an even number the mean of the two in the middle",
    ),
)
