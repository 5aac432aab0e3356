"""What is said of an epoch."""

from __future__ import annotations

import typer

from ps3d_training.schedule import Epoch


def say_epoch(epoch: Epoch) -> None:
    """Say on stderr what an epoch came to."""
    core, border = epoch.dice
    particles = "" if epoch.f1_instance is None else f"F1_instance {epoch.f1_instance:.4f}  "
    typer.echo(
        f"epoch {epoch.number}/{epoch.of}  loss {epoch.train_loss:.4f}  validation {epoch.validation_loss:.4f}  "
        f"dice core {core:.4f} border {border:.4f}  {particles}{epoch.seconds:.1f} s  "
        f"{epoch.step_seconds:.3f} s/step  waited {epoch.data_wait_seconds:.1f} s  lr {epoch.learning_rate:.2e}",
        err=True,
    )
