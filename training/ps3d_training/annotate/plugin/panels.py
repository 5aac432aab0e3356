"""The panels beside napari's canvas: what is left to look at, the steps with their keys, and scribbles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from ps3d_rt.errors import InputError
from ps3d_training.annotate.plugin.desk import SCRIBBLES, Desk
from ps3d_training.annotate.scribbles import BACKGROUND, PARTICLE
from ps3d_training.annotate.session import Session

DESKS: dict[int, Desk] = {}
"""Open desks by the identity of their viewer: the panels of one viewer share one."""


class _Panel(QWidget):
    """A column of buttons with a line for messages."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.column = QVBoxLayout(self)
        self.message = QLabel("", self)
        self.message.setWordWrap(True)

    def button(self, text: str, step: Callable[[], Any]) -> QPushButton:
        """Add a button."""
        made = QPushButton(text, self)
        made.clicked.connect(lambda _=False: step())
        self.column.addWidget(made)
        return made

    def desk(self) -> Desk | None:
        """Give the open desk; without one, say how to open it."""
        found = DESKS.get(id(self.viewer))
        if found is None:
            self.message.setText("open an annotation folder first: the panel Review and correct particles.")
        return found


class ReviewPanel(_Panel):
    """Goes through what is doubtful, and holds the corrections.

    Args:
        napari_viewer: that the layers are added to.
        folder: annotation folder to open at once.
        name: of the patch; None takes the first that is not complete.
    """

    def __init__(self, napari_viewer: Any, folder: Path | None = None, name: str | None = None) -> None:
        super().__init__(napari_viewer)
        self.button("Open annotation folder…", self._choose)
        self.counts = QLabel("no patch is open", self)
        self.column.addWidget(self.counts)
        self.column.addWidget(self.message)
        self.steps: dict[str, QPushButton] = {}
        self.complete = QCheckBox("every particle is labelled", self)
        self.complete.toggled.connect(self._complete)
        if folder is not None:
            self.open(folder, name)

    def open(self, folder: Path, name: str | None = None) -> None:
        """Open a patch; what was done to it before is there."""
        session = Session(folder, name)
        desk = Desk(self.viewer, session, self.message.setText)
        DESKS[id(self.viewer)] = desk
        session.listeners.append(self.refresh)
        for key, (text, step) in desk.steps.items():
            self.steps[key] = self.button(f"{key}: {text}", partial(desk.do, step))
        self.column.addWidget(self.complete)
        self.column.addStretch()
        self.complete.setChecked(session.state.complete)
        self.refresh()

    def refresh(self) -> None:
        """Show the counts."""
        desk = DESKS.get(id(self.viewer))
        if desk is not None:
            counts = desk.session.counts()
            self.counts.setText(
                f"<b>{desk.session.name}</b><br>{counts['left']} left to look at<br>"
                f"{counts['accepted']} of {counts['particles']} particles accepted<br>{counts['edits']} corrections"
            )

    def _complete(self, checked: bool) -> None:
        desk = self.desk()
        if desk is not None and desk.session.state.complete != checked:
            desk.session.complete(checked)

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Annotation folder")
        if chosen:
            try:
                self.open(Path(chosen))
            except InputError as error:
                self.message.setText(str(error))


class ScribblePanel(_Panel):
    """Finds particles from a few strokes on particle and on background."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.button("Draw on particles", lambda: self.draw(PARTICLE))
        self.button("Draw on background", lambda: self.draw(BACKGROUND))
        self.button("Find particles", lambda: self._run(lambda desk: desk.classify()))
        self.button("Make labels of them", lambda: self._run(lambda desk: desk.fill()))
        self.column.addWidget(self.message)
        self.column.addStretch()

    def draw(self, kind: int) -> None:
        """Take the brush for one kind of scribble."""
        desk = self.desk()
        if desk is not None:
            desk.scribbles.visible = True
            self.viewer.layers.selection.active = self.viewer.layers[SCRIBBLES]
            desk.scribbles.selected_label, desk.scribbles.mode = kind, "paint"

    def _run(self, step: Callable[[Desk], Any]) -> None:
        desk = self.desk()
        if desk is not None:
            desk.do(lambda: step(desk))
