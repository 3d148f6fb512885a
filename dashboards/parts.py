"""What all dashboards have in common: their frame, three kinds of panel, and colours by threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as mc
from grafana_foundation_sdk.models import dashboard as md
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "comentarios"
DATASOURCE = mc.DataSourceRef(type_val="prometheus", uid="${datasource}")
AnyPanel = timeseries.Panel | stat.Panel | table.Panel
# Grafana's grid is 24 wide.
FULL, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4


@dataclass(frozen=True)
class Q:
    """A query: PromQL and the name of each of its series (`{{label}}` is filled in)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Limits:
    """Where a value stops being green. `red < amber` means that low values are bad."""

    amber: float | None
    red: float | None

    def steps(self) -> d.ThresholdsConfig:
        bounds = [at for at in (self.amber, self.red) if at is not None]
        colours = ["green", *(colour for at, colour in ((self.amber, "orange"), (self.red, "red")) if at is not None)]
        if bounds != sorted(bounds):
            bounds.reverse()
            colours.reverse()
        starts = [None, *bounds]
        steps = [md.Threshold(value=bound, color=colour) for bound, colour in zip(starts, colours, strict=True)]
        return d.ThresholdsConfig().mode(md.ThresholdsMode.ABSOLUTE).steps(steps)

    @property
    def drawn(self) -> bool:
        return self.red is not None


NONE = Limits(None, None)


class Board:
    """A dashboard in the making. Panels fill rows from left to right and get their ids in that order.

    `uid` is also the file's name and never changes: links and alerts point at it.
    """

    def __init__(self, uid: str, title: str, description: str, span: str = "now-3h"):
        self.uid = uid
        self._last_id = 0
        self._board = (
            d.Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .readonly()
            .timezone("browser")
            .time(span, "now")
            .refresh("30s")
            .tooltip(md.DashboardCursorSync.CROSSHAIR)
            .with_variable(
                d.DatasourceVariable("datasource")
                .label("Data source")
                .type("prometheus")
                .current(md.VariableOption(selected=True, text="Prometheus", value="prometheus"))
            )
            .link(
                d.DashboardLink("Dashboards")
                .type(md.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(False)
                .include_vars(False)
                .keep_time(True)
                # The SDK's default hides it in a menu that versions before 13 do not have.
                .placement(None)  # type: ignore[arg-type]
            )
        )

    def choice(self, name: str, label: str, metric: str, by: str) -> None:
        """A variable `$name` with the values of label `by` of `metric`; all of them until somebody chooses."""
        query = f"label_values({metric}, {by})"
        everything = md.VariableOption(selected=True, text=["All"], value=["$__all"])
        self._board.with_variable(
            d.QueryVariable(name)
            .label(label)
            .datasource(DATASOURCE)
            .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
            .definition(query)
            .refresh(md.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(md.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(everything)
        )

    def events(self, name: str, expr: str, title: str) -> None:
        """Vertical lines at the times (seconds since 1970) that are the values of `expr`."""
        self._board.annotation(
            d.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color("blue")
            .expr(f"{expr} * 1000")
            .use_value_for_time(True)
            .title_format(title)
            .step("60s")
            .placement(None)  # type: ignore[arg-type]
        )

    def row(self, title: str) -> None:
        self._board.with_row(d.Row(title).id(self._next_id()))

    def graph(
        self,
        title: str,
        description: str,
        unit: str,
        *queries: Q,
        limits: Limits = NONE,
        width: int = HALF,
        top: float | None = None,
        stacked: bool = False,
        empty: str | None = None,
    ) -> None:
        """Lines over time from 0 (to `top`), with a dashed line at each limit."""
        panel = (
            timeseries.Panel()
            .min(0)
            .line_width(1)
            .fill_opacity(30 if stacked else 5)
            .show_points(mc.VisibilityMode.NEVER)
            .legend(
                c.VizLegendOptions()
                .show_legend(True)
                .display_mode(mc.LegendDisplayMode.TABLE)
                .placement(mc.LegendPlacement.BOTTOM)
                .calcs(["lastNotNull", "max"])
            )
            .tooltip(c.VizTooltipOptions().mode(mc.TooltipDisplayMode.MULTI).sort(mc.SortOrder.DESCENDING))
        )
        if stacked:
            panel.stacking(c.StackingConfig().mode(mc.StackingMode.NORMAL))
        if limits.drawn:
            panel.thresholds_style(c.GraphThresholdsStyleConfig().mode(mc.GraphThresholdsStyleMode.DASHED))
        if top is not None:
            panel.max(top)
        self._add(panel, title, description, unit, queries, limits, width, 8, empty)

    def number(
        self,
        title: str,
        description: str,
        unit: str,
        query: Q,
        limits: Limits = NONE,
        width: int = SIXTH,
        height: int = 4,
        name_only: bool = False,
        empty: str | None = None,
    ) -> None:
        """The newest value, coloured by its limits; with `name_only` the series' names instead."""
        panel = (
            stat.Panel()
            .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
            .color_mode(mc.BigValueColorMode.VALUE)
            .graph_mode(mc.BigValueGraphMode.NONE if name_only else mc.BigValueGraphMode.AREA)
            .text_mode(mc.BigValueTextMode.NAME if name_only else mc.BigValueTextMode.AUTO)
        )
        self._add(panel, title, description, unit, [query], limits, width, height, empty)

    def table(
        self,
        title: str,
        description: str,
        unit: str,
        query: Q,
        hidden: list[str],
        limits: Limits = NONE,
        width: int = HALF,
        empty: str | None = None,
    ) -> None:
        """The newest value of each series as a line, with its labels as columns, `hidden` ones left out."""
        panel = (
            table.Panel()
            .show_header(True)
            .with_transformation(
                md.DataTransformerConfig(id_val="organize", options={"excludeByName": {name: True for name in hidden}})
            )
        )
        self._add(panel, title, description, unit, [query], limits, width, 8, empty, as_table=True)

    def build(self) -> md.Dashboard:
        return self._board.build()

    def _add(
        self,
        panel: AnyPanel,
        title: str,
        description: str,
        unit: str,
        queries: Sequence[Q],
        limits: Limits,
        width: int,
        height: int,
        empty: str | None,
        as_table: bool = False,
    ) -> None:
        panel.id(self._next_id()).title(title).description(description).unit(unit)
        panel.datasource(DATASOURCE).span(width).height(height).thresholds(limits.steps())
        if empty is not None:
            panel.no_value(empty)
        for letter, query in zip("ABCDEFGH", queries, strict=False):
            target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
            target.datasource(DATASOURCE)
            if as_table:
                target.instant().format(PromQueryFormat.TABLE)
            else:
                target.range().format(PromQueryFormat.TIME_SERIES)
            panel.with_target(target)
        self._board.with_panel(panel)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
