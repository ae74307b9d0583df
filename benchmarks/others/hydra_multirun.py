"""Hydra: hydra_multirun.py --multirun lr=0.01,0.02,..."""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from task import last_loss


@dataclass
class Config:
    lr: float = 0.5


ConfigStore.instance().store("config", Config)


@hydra.main(version_base=None, config_name="config")
def main(config: Config) -> float:
    loss = last_loss(config.lr)
    print(config.lr, loss)
    return loss


if __name__ == "__main__":
    main()
