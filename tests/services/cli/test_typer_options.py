"""Options made from the fields of a settings model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from typer.testing import CliRunner

from services.cli.typer_options import options_of, values_of, with_options
from services.pairs import pairs


class Shape(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHAPE_")

    sides: int = Field(3, ge=3, le=9, description="Number of sides.")
    colours: tuple[str, ...] = Field(("red", "blue"), description="Colour; repeatable.")
    fill: Literal["none", "solid"] = "none"
    hidden_field: int = Field(0, json_schema_extra={"hidden": True})


class Drawing(BaseModel):
    scale: float | None = Field(None, description="Scale.", json_schema_extra={"metavar": "FACTOR"})
    copies: Annotated[Mapping[str, int], pairs("SHAPE=NUMBER")] = Field({}, description="Number of copies.")


app = typer.Typer(rich_markup_mode=None)
received: dict[str, Any] = {}


@app.command()
@with_options(options_of(Shape, colours="--colour"), options_of(Drawing))
def draw(**options: Any) -> None:
    """Draw."""
    received.clear()
    received.update(options)


def test_help_shows_descriptions_defaults_bounds_and_variables() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())

    assert "Number of sides. [env: SHAPE_SIDES; default: 3] [3<=x<=9]" in shown
    assert "Colour; repeatable. [env: SHAPE_COLOURS; default: red, blue]" in shown
    assert "--fill none|solid" in shown
    assert "--scale FACTOR Scale." in shown
    assert "--copies KEY=VALUE" in shown
    assert "hidden" not in shown


def test_an_option_that_is_not_typed_is_none_so_the_environment_and_the_default_apply() -> None:
    CliRunner().invoke(app, [])

    assert set(received.values()) == {None}


def test_each_model_gets_the_values_of_its_own_fields() -> None:
    CliRunner().invoke(
        app, ["--sides", "5", "--colour", "a", "--colour", "b", "--copies", "x=2", "--hidden-field", "1"]
    )

    shape, drawing = values_of(Shape, received), values_of(Drawing, received)
    assert shape == {"sides": 5, "colours": ["a", "b"], "fill": None, "hidden_field": 1}
    assert Drawing(**{name: value for name, value in drawing.items() if value is not None}).copies == {"x": 2}


@pytest.mark.parametrize("arguments", [["--sides", "2"], ["--sides", "many"], ["--colours", "a"]])
def test_a_wrong_option_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert arguments[0] in result.output
