"""The digits sweep in a plain Ray Tune Tuner, with Toprung's search and early stopping, without the service."""

from ray import tune

from toprung.examples.digits.train import train_digits
from toprung.tuning import ToprungScheduler, ToprungSearch


def main() -> None:
    tuner = tune.Tuner(
        train_digits,  # reports once an epoch, each time with a checkpoint
        param_space={
            "lr": tune.loguniform(1e-4, 1e-1),
            "batch_size": tune.choice([16, 32, 64, 128]),
            "channels": tune.lograndint(4, 33),
            "hidden": tune.lograndint(16, 129),
            "dropout": tune.uniform(0.0, 0.5),
            "weight_decay": tune.loguniform(1e-6, 1e-2),
            "optimizer": "adam",
            "epochs": 27,
        },
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=40,
            search_alg=ToprungSearch(seed=0),
            scheduler=ToprungScheduler(max_t=27, mode="promote"),
            reuse_actors=True,  # a trial that goes on needs no new process
        ),
        run_config=tune.RunConfig(name="digits"),
    )
    best = tuner.fit().get_best_result()
    print(best.metrics["val_loss"], best.config)


if __name__ == "__main__":
    main()
