# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML file that needs nothing else: tables, plots and pictures lie in it.

A report is a row of sections, and a section a row of blocks. ``page.html.j2`` draws them.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jinja2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from vla_core.whole_file import write_whole

Mark = Literal["good", "warning", "bad", "plain"]
_TEMPLATE = "page.html.j2"
_DPI = 110
_CHART_DPI = 160


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        mark: How much it matters.
    """

    text: str
    mark: Mark = "plain"
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Headings.
        rows: Cells; numbers are written with four digits.
        caption: Below it; may be empty.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    kind: str = field(default="table", init=False)

    @property
    def cells(self) -> list[list[str]]:
        """Text of the cells."""
        return [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A picture or a plot.

    Attributes:
        source: A data URI, from ``png_of_figure`` or ``png_of_pixels``.
        caption: Below it; may be empty.
        wide: Give it the whole width.
    """

    source: str
    caption: str = ""
    wide: bool = False
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Chart:
    """A plot without a background, in colours that are read on light and dark.

    Attributes:
        source: A data URI, from ``png_of_chart``.
        caption: Below it; may be empty.
        wide: Give it the whole width.
    """

    source: str
    caption: str = ""
    wide: bool = False
    kind: str = field(default="chart", init=False)


@dataclass(frozen=True)
class Item:
    """One line of a list.

    Attributes:
        label: A word in front, coloured by the mark.
        where: What it is about; may be empty.
        text: The line.
        mark: How much it matters.
    """

    label: str
    where: str
    text: str
    mark: Mark = "plain"


@dataclass(frozen=True)
class Items:
    """A list.

    Attributes:
        items: Its lines.
    """

    items: Sequence[Item]
    kind: str = field(default="items", init=False)


@dataclass(frozen=True)
class Card:
    """Pictures that belong together.

    Attributes:
        title: Above them.
        text: Below the title.
        pictures: Data URIs.
        mark: Colour of the edge.
    """

    title: str
    text: str
    pictures: Sequence[str]
    mark: Mark = "plain"


@dataclass(frozen=True)
class Cards:
    """Cards side by side.

    Attributes:
        cards: They.
    """

    cards: Sequence[Card]
    kind: str = field(default="cards", init=False)


Block = Text | Table | Picture | Chart | Items | Cards


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its heading.
        blocks: What is in it.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Figures:
    """Numbers at the head of a report.

    Attributes:
        values: Label to text.
    """

    values: dict[str, str]


def write_page(
    path: Path, title: str, sections: Sequence[Section], *, subtitle: str = "", key_figures: Figures | None = None
) -> Path:
    """Write a report, at once or not at all; return its path.

    Args:
        path: The HTML file.
        title: Heading.
        sections: Parts of the report.
        subtitle: One line below the heading.
        key_figures: Numbers that are seen first.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    values = key_figures.values if key_figures else {}
    text = environment.get_template(_TEMPLATE).render(
        title=title, subtitle=subtitle, sections=sections, key_figures=values
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    return path


def png_of_figure(figure: Figure) -> str:
    """Return a plot as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight")
    return _data_uri(buffer.getvalue(), "png")


def png_of_chart(figure: Figure) -> str:
    """Return a plot without a background as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_CHART_DPI, bbox_inches="tight", transparent=True)
    return _data_uri(buffer.getvalue(), "png")


def png_of_pixels(pixels: NDArray[np.uint8], *, width_px: int | None = None) -> str:
    """Return a picture (H, W, 3) uint8 as a data URI.

    Args:
        pixels: The picture.
        width_px: Width to scale it to, to keep the report small.
    """
    picture = Image.fromarray(pixels)
    if width_px is not None and picture.width > width_px:
        picture = picture.resize((width_px, max(round(picture.height * width_px / picture.width), 1)))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return _data_uri(buffer.getvalue(), "jpeg")


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], *, height_px: int = 96, gap_px: int = 2
) -> NDArray[np.uint8]:
    """Return pictures side by side, each scaled to a height."""
    scaled = [
        np.asarray(
            Image.fromarray(each).resize((max(round(each.shape[1] * height_px / each.shape[0]), 1), height_px))
        )
        for each in pictures
    ]
    gap = np.full((height_px, gap_px, 3), 255, dtype=np.uint8)
    parts = [part for picture in scaled for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1) if parts else np.full((height_px, 1, 3), 255, dtype=np.uint8)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
