# %% [markdown]
# # A model that the ready-made gates have something to say about
# Who is hired depends on skill, and on sex: a model that learns from such people learns that too. The rows of today are
# those of the test, six years older.

# %% tags=["parameters"]
people = 2000
advantage = 0.8  # what being a man is worth, in standard deviations of skill; 0 is a fair world
years = 6  # how much older everybody is today; 0 is no drift

# %% [markdown]
# ## Data

# %%
from pathlib import Path

import numpy as np
import pandas as pd

random = np.random.default_rng(0)
table = pd.DataFrame(
    {
        "sex": random.choice(["F", "M"], people),
        "skill": random.normal(size=people),
        "age": random.integers(18, 65, people),
    }
)
table["hired"] = (table["skill"] + advantage * (table["sex"] == "M") > 0.4).astype(int)
train, test = table[: people // 2], table[people // 2 :]

out = Path("out")
out.mkdir(exist_ok=True)
train.to_csv(out / "train.csv", index=False)
test.to_csv(out / "test.csv", index=False)
test.assign(age=test["age"] + years).to_csv(out / "today.csv", index=False)

# %% [markdown]
# ## Model

# %%
import joblib
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

columns = ["sex", "skill", "age"]
encoder = make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough")
model = make_pipeline(encoder, LogisticRegression(max_iter=1000)).fit(train[columns], train["hired"])
joblib.dump(model, out / "model.joblib")
print(f"::metric name=accuracy value={model.score(test[columns], test['hired']):.4f}")
