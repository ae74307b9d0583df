"""Write experiments/house_price.csv: 200 made-up houses for linear regression on two features.

area   living area in m², uniform in [45, 220], to 0.1
age    whole years, uniform in 0 .. 60
price  in thousands: 60 + 3.1 · area - 1.4 · age + noise with deviation 18, to 0.1

The numbers are ours, drawn with a fixed seed; no real house is among them.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

ROWS = 200
SEED = 20_240_601
TARGET = Path(__file__).resolve().parent.parent / "experiments" / "house_price.csv"


def main() -> None:
    rng = np.random.default_rng(SEED)
    area = rng.uniform(45, 220, ROWS).round(1)
    age = rng.integers(0, 61, ROWS)
    price = (60 + 3.1 * area - 1.4 * age + rng.normal(0, 18, ROWS)).round(1)
    with TARGET.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["area", "age", "price"])
        writer.writerows(zip(area.tolist(), age.tolist(), price.tolist(), strict=True))
    print(f"{TARGET}: {ROWS} rows")


if __name__ == "__main__":
    main()
