"""Makes the customers of a month as a CSV file: who they are, and whether they have left since.

python make_data.py data/customers.csv --months 3
python make_data.py incoming/today.csv --months 1 --seed 7 --drift

With ``--drift`` people pay more and stay for other reasons, so that a model of earlier months no longer fits.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 800  # customers a month


def customers(rows, seed, drift):
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "tenure": random.exponential(30, rows).round(1),
            "price": (random.normal(70 if drift else 50, 12, rows)).round(2),
            "calls": random.poisson(2.5 if drift else 1.5, rows),
            "plan": random.choice(["basic", "plus", "pro"], rows, p=[0.5, 0.3, 0.2]),
        }
    )
    # With the drift it is calls that drive people away, before it was the price.
    pull = 1.6 * (table["calls"] - 2.5) if drift else 0.16 * (table["price"] - 50) + 0.4 * (table["calls"] - 1.5)
    chance = 1 / (1 + np.exp(-(pull - 0.03 * (table["tenure"] - 30))))
    return table.assign(left=(random.random(rows) < chance).astype(int))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--months", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drift", action="store_true")
    given = parser.parse_args()
    given.file.parent.mkdir(parents=True, exist_ok=True)
    table = customers(given.months * ROWS, given.seed, given.drift)
    table.to_csv(given.file, index=False)
    print(f"{given.file}: {len(table)} customers, {table['left'].mean():.0%} have left")
