# %% [markdown]
# # Clean the wine data and hand on what training needs
# A percent script: plain Python to an editor and to git, cells to the gateway.

# %% tags=["parameters"]
keep = 0.95  # share of the rows that must survive the cleaning
target = "out/wine.csv"

# %% [markdown]
# ## Extract

# %%
from pathlib import Path

from sklearn.datasets import load_wine

wine = load_wine(as_frame=True).frame
print(f"{len(wine)} rows, {wine.shape[1]} columns")

# %% [markdown]
# ## Transform
# Drop rows that lie more than four standard deviations off in any column, then scale.

# %%
features = wine.drop(columns="target")
scores = (features - features.mean()) / features.std()
clean = scores[(scores.abs() < 4).all(axis="columns")].assign(target=wine["target"])
kept = len(clean) / len(wine)
print(f"::metric name=rows_kept value={kept:.4f}")
assert kept >= keep, f"only {kept:.1%} of the rows survived"
clean.describe().loc[["mean", "std"]].round(2)

# %% [markdown]
# ## Load

# %%
Path(target).parent.mkdir(parents=True, exist_ok=True)
clean.to_csv(target, index=False)
print(f"{target}: {Path(target).stat().st_size:,} bytes")
