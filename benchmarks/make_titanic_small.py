"""Write experiments/titanic_small.csv: 400 made-up passengers, with text, categories and missing cells.

class      1, 2 or 3, with shares 0.25, 0.2, 0.55
sex        male or female, with shares 0.65, 0.35
age        years, normal around 44 - 6 · class with deviation 13, at least 1, to 0.5; a fifth of the cells is missing
fare       3 + 90 / class² times a factor exp(N(0, 0.4)), to 0.01
port       Southampton, Cherbourg or Queenstown; six cells are missing
survived   yes with probability σ(1.2 + 2.6 · female - 1.0 · class + 0.9 · child below 14), else no

The passengers are ours, drawn with a fixed seed; only the columns are those of the well-known table.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

ROWS = 400
SEED = 19_120_415
TARGET = Path(__file__).resolve().parent.parent / "experiments" / "titanic_small.csv"


def main() -> None:
    rng = np.random.default_rng(SEED)
    group = rng.choice([1, 2, 3], ROWS, p=[0.25, 0.2, 0.55])
    sex = rng.choice(["male", "female"], ROWS, p=[0.65, 0.35])
    age = (np.maximum(rng.normal(44 - 6 * group, 13), 1) * 2).round() / 2
    fare = ((3 + 90 / group**2) * np.exp(rng.normal(0, 0.4, ROWS))).round(2)
    port = rng.choice(["Southampton", "Cherbourg", "Queenstown"], ROWS, p=[0.7, 0.2, 0.1])
    score = 1.2 + 2.6 * (sex == "female") - group + 0.9 * (age < 14)
    survived = np.where(rng.random(ROWS) < 1 / (1 + np.exp(-score)), "yes", "no")
    ages = [f"{value:g}" for value in age]
    for row in rng.choice(ROWS, ROWS // 5, replace=False):
        ages[row] = ""
    for row in rng.choice(ROWS, 6, replace=False):
        port[row] = ""
    with TARGET.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["class", "sex", "age", "fare", "port", "survived"])
        writer.writerows(zip(group.tolist(), sex.tolist(), ages, fare.tolist(), port.tolist(), survived, strict=True))
    print(f"{TARGET}: {ROWS} rows")


if __name__ == "__main__":
    main()
