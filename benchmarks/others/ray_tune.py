"""Ray Tune's grid search on two cores, its processes used again for trial after trial."""

import os
import tempfile

os.environ |= {"RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

import ray
from ray import tune
from task import asked, points, show

if __name__ == "__main__":
    function, axes = asked()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def trial(config: dict[str, float]) -> None:
        tune.report({"loss": function(**config)})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={name: tune.grid_search(list(values)) for name, values in axes.items()},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        found = {tuple(done.config[name] for name in axes): done.metrics["loss"] for done in tuner.fit()}
    runs = points(axes)
    show(runs, [found[tuple(run.values())] for run in runs])
