"""Optuna's GridSampler, its study in memory."""

import optuna
from task import RATES, last_loss, show

if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"lr": RATES}))
    study.optimize(lambda trial: last_loss(trial.suggest_float("lr", RATES[0], RATES[-1])), n_trials=len(RATES))
    found = {trial.params["lr"]: trial.value for trial in study.trials}
    show([found[lr] for lr in RATES])
