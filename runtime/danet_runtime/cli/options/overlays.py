"""Options of how overlays and masks are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from danet_runtime.cli.options.arguments import OVERLAYS

Alpha = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="SHARE",
        help="Share of a class's color in the overlay.",
        rich_help_panel=OVERLAYS,
    ),
]
Legend = Annotated[
    bool,
    typer.Option(
        "--legend",
        help="Draw the names of the classes that are there, the largest first, on a quarter of the frame at "
        "most.",
        rich_help_panel=OVERLAYS,
    ),
]
Contours = Annotated[
    bool,
    typer.Option("--contours", help="Draw the borders of the classes.", rich_help_panel=OVERLAYS),
]
Names = Annotated[
    bool,
    typer.Option(
        "--names", help="Write the names of the classes on large regions.", rich_help_panel=OVERLAYS
    ),
]
HeadUp = Annotated[
    bool,
    typer.Option(
        "--head-up",
        help="Write frames a second, age, health, backend and precision.",
        rich_help_panel=OVERLAYS,
    ),
]
Palette = Annotated[
    Literal["bundle", "color-blind"],
    typer.Option(
        help="The classes' own colors, or such as the color-blind tell apart.", rich_help_panel=OVERLAYS
    ),
]
Upsample = Annotated[
    Literal["nearest", "bilinear"],
    typer.Option(
        help="Labels of a frame that is larger than the model's, in the overlay: as they are, or with smooth "
        "borders.",
        rich_help_panel=OVERLAYS,
    ),
]
GreyMasks = Annotated[
    bool,
    typer.Option(
        "--grey-masks",
        help="Masks as grey pictures, which OpenCV reads as labels; by default their palette has the colors.",
        rich_help_panel=OVERLAYS,
    ),
]
