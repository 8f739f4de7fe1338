"""What all dashboards are made of: the data source, InfluxQL queries, panels, variables, links.

The queries hold to what InfluxDB 1.x, 2.x (by a DBRP mapping) and 3 Core have in common: no
`SELECT INTO`, `SLIMIT` or `SOFFSET`, no regular expression in FROM, no transformations, subqueries
only one deep.
"""

# ruff: noqa: S608 (the queries are written here and take nothing from outside)

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
)
from grafana_foundation_sdk.models.common import BigValueTextMode as TextMode

from cloud.core.measured import MEASUREMENTS, STATUS

SOURCE_UID = "farfix-telemetry"
FIGURES_UID = "farfix-service"
CONSOLE_URL = "https://localhost:8080"
"""Where people reach the console; the constant ``console`` of every dashboard."""
AT_SITE = '"site" =~ /^$site$/ AND $timeFilter'
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#808080"
STATUS_COLORS = (GREY, BLUE, GREEN, YELLOW, RED)
WIDTH = 24

Extra = Mapping[str, str]
Panel = stat.Panel | table.Panel | timeseries.Panel


def source_of(query: str) -> model.DataSourceRef:
    """Return the data source of what a query reads: telemetry, or what is kept for good."""
    kept = any(f'FROM "{name}"' in query for name, spec in MEASUREMENTS.items() if spec.for_good)
    return model.DataSourceRef(type_val="influxdb", uid=FIGURES_UID if kept else SOURCE_UID)


class InfluxQL(Dataquery):
    """A query in InfluxQL, as the data source's raw editor keeps it."""

    def __init__(self, query: str, ref: str, alias: str = "", form: str = "time_series") -> None:
        self.query, self.ref_id, self.alias, self.form = query, ref, alias, form

    def to_json(self) -> dict[str, object]:
        """Return what stands in a dashboard's JSON."""
        told = {
            "refId": self.ref_id,
            "rawQuery": True,
            "query": self.query,
            "resultFormat": self.form,
            "datasource": source_of(self.query).to_json(),
        }
        return told | ({"alias": self.alias} if self.alias else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "InfluxQL":
        """Read it back."""
        form = data.get("resultFormat", "time_series")
        return cls(data["query"], data["refId"], data.get("alias", ""), form)


class Mark(InfluxQL):
    """The query of an annotation: which columns say what."""

    def to_json(self) -> dict[str, object]:
        """Return what stands in a dashboard's JSON."""
        return {
            "refId": self.ref_id,
            "query": self.query,
            "rawQuery": True,
            "fromAnnotations": True,
            "textEditor": True,
            "textColumn": "text",
            "titleColumn": "title",
            "tagsColumn": "kind",
            "timeEndColumn": "",
        }


class _Target(Builder[Dataquery]):
    def __init__(self, query: InfluxQL) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def target(query: str, alias: str = "") -> Builder[Dataquery]:
    """Return a panel's only query."""
    return _Target(InfluxQL(query, "A", alias))


class _Link(Builder[model.DashboardLink]):
    def __init__(self, title: str, url: str) -> None:
        self._link = model.DashboardLink(
            title=title, url=url, type_val=model.DashboardLinkType.LINK, target_blank=True
        )

    def build(self) -> model.DashboardLink:
        return self._link


class Grid:
    """Places panels from left to right, row under row."""

    def __init__(self) -> None:
        self._x = self._y = self._row_h = 0

    def next(self, width: int, height: int) -> model.GridPos:
        """Return the next place; a panel that does not fit begins a new row."""
        if self._x + width > WIDTH:
            self._x, self._y, self._row_h = 0, self._y + self._row_h, 0
        place = model.GridPos(h=height, w=width, x=self._x, y=self._y)
        self._x, self._row_h = self._x + width, max(self._row_h, height)
        return place


def steps(*pairs: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Return thresholds from pairs of a value and the color from there on."""
    made = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE)
    return made.steps([model.Threshold(value=value, color=color) for value, color in pairs])


def status_words() -> list[
    model.ValueMap | model.RangeMap | model.RegexMap | model.SpecialValueMap
]:
    """Return the words and colors for the numbers of ``status``."""
    words = {
        str(number): model.ValueMappingResult(
            text=name.replace("_", " "), color=STATUS_COLORS[number], index=number
        )
        for name, number in STATUS.items()
    }
    return [model.ValueMap(options=words)]


def number(  # noqa: PLR0917 - what it is, then where it is, as everywhere here
    title: str,
    about: str,
    unit: str,
    query: str,
    grid: model.GridPos,
    thresholds: build.ThresholdsConfig | None = None,
) -> stat.Panel:
    """Return one big number."""
    made = stat.Panel().title(title).description(about).unit(unit).grid_pos(grid)
    made = made.datasource(source_of(query)).with_target(_Target(InfluxQL(query, "A")))
    made = made.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    made = made.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    return made.thresholds(thresholds or steps((None, BLUE)))


def tiles(title: str, about: str, query: str, grid: model.GridPos, url: str) -> stat.Panel:
    """Return one coloured tile for each machine."""
    target = InfluxQL(query, "A", alias="$tag_device")
    made = stat.Panel().title(title).description(about).unit("short").grid_pos(grid)
    made = made.datasource(source_of(query)).with_target(_Target(target)).mappings(status_words())
    made = made.color_mode(BigValueColorMode.BACKGROUND).graph_mode(BigValueGraphMode.NONE)
    made = made.text_mode(TextMode.VALUE_AND_NAME)
    made = made.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    return made.data_links([_Link("Machine", url)])


def lines(
    title: str,
    about: str,
    unit: str,
    queries: Sequence[tuple[str, str]],
    grid: model.GridPos,
    *,
    bars: bool = False,
) -> timeseries.Panel:
    """Return curves, or bars; each query comes with the name of its series."""
    made = timeseries.Panel().title(title).description(about).unit(unit).grid_pos(grid)
    made = made.datasource(source_of(queries[0][0]))
    for ref, (query, alias) in zip("ABCDEFGH", queries, strict=False):
        made = made.with_target(_Target(InfluxQL(query, ref, alias)))
    if bars:
        made = made.draw_style(GraphDrawStyle.BARS).fill_opacity(60)
    return made


def rows(  # noqa: PLR0917 - what it is, then where it is
    title: str,
    about: str,
    query: str,
    grid: model.GridPos,
    units: Extra,
    links: Extra,
) -> table.Panel:
    """Return a table.

    Args:
        title: of the panel.
        about: what it shows.
        query: finds the rows.
        grid: its place.
        units: of columns, by name.
        links: addresses behind columns, by name; ``${__value.raw}`` is the cell.
    """
    target = InfluxQL(query, "A", form="table")
    made = table.Panel().title(title).description(about).grid_pos(grid).datasource(source_of(query))
    made = made.with_target(_Target(target))
    for column in dict.fromkeys([*units, *links]):
        properties = []
        if column in units:
            properties.append(model.DynamicConfigValue("unit", units[column]))
        if column in links:
            link = {"title": "Open", "url": links[column], "targetBlank": True}
            properties.append(model.DynamicConfigValue("links", [link]))
        made = made.override_by_name(column, properties)
    return made


def sorted_by(panel: table.Panel, column: str, limit: int) -> table.Panel:
    """Show only the rows with the highest values."""
    order = {"fields": {}, "sort": [{"field": column, "desc": True}]}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="sortBy", options=order))
    short = model.DataTransformerConfig(id_val="limit", options={"limitField": limit})
    return panel.with_transformation(short)


def choice(name: str, label: str, query: str, *, several: bool = False) -> build.QueryVariable:
    """Return a variable whose values a query finds."""
    made = build.QueryVariable(name).label(label).query(query).datasource(source_of(query))
    made = made.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made = made.sort(model.VariableSort.ALPHABETICAL_ASC)
    if several:
        made = made.multi(multi=True).include_all(include_all=True).all_value(".*")
        made = made.current(model.VariableOption(selected=True, text="All", value="$__all"))
    return made


def site() -> build.QueryVariable:
    """Return the choice of sites."""
    query = 'SHOW TAG VALUES FROM "farfix_machine" WITH KEY = "site"'
    return choice("site", "Site", query, several=True)


def notes(name: str, color: str, kinds: str, where: str) -> build.AnnotationQuery:
    """Return marks on the time axis: lines of the timelines of cases, of these kinds."""
    query = (
        'SELECT "text", "title", "kind" FROM "farfix_note" WHERE '
        f'"kind" =~ /^({kinds})$/ AND {where} ORDER BY time DESC LIMIT 200'
    )
    made = build.AnnotationQuery().name(name).enable(enable=True).icon_color(color)
    return made.datasource(source_of(query)).target(_Target(Mark(query, "Anno")))


def board(uid: str, title: str, about: str, span: str) -> build.Dashboard:
    """Return an empty dashboard."""
    made = build.Dashboard(title).uid(uid).description(about).tags(["farfix"]).readonly()
    made = made.refresh("30s").time(span, "now").timezone("browser")
    made = made.with_variable(build.ConstantVariable("console").label("Console").value(CONSOLE_URL))
    made = made.link(
        build.DashboardLink("Farfix")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["farfix"])
        .keep_time(keep_time=True)
    )
    return made.link(build.DashboardLink("Console").url("$console").target_blank(target_blank=True))
