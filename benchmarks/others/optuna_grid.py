"""Optuna's GridSampler, its study in memory, in one process."""

import optuna
from task import asked, points, show

if __name__ == "__main__":
    function, axes = asked()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({name: list(axes[name]) for name in axes}))

    def objective(trial: optuna.Trial) -> float:
        ends = {name: (min(values), max(values)) for name, values in axes.items()}
        return function(**{name: trial.suggest_float(name, *ends[name]) for name in axes})

    runs = points(axes)
    study.optimize(objective, n_trials=len(runs))
    found = {tuple(trial.params[name] for name in axes): trial.value for trial in study.trials}
    show(runs, [found[tuple(run.values())] for run in runs])
