"""Hydra: hydra_multirun.py --multirun sweep=rates lr=0.01,0.02,... seed=0"""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from task import of_digits, of_rate


@dataclass
class Config:
    sweep: str = "rates"
    lr: float = 0.5
    seed: int = 0


ConfigStore.instance().store("config", Config)


@hydra.main(version_base=None, config_name="config")
def main(config: Config) -> float:
    loss = of_rate(config.lr) if config.sweep == "rates" else of_digits(config.lr, config.seed)
    print(config.lr, config.seed, loss)
    return loss


if __name__ == "__main__":
    main()
