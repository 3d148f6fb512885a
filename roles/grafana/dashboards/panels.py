"""What all dashboards share: the frame, the kinds of panels, and the colours of series."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus, stat, text, timeseries
from grafana_foundation_sdk.models import common as mc
from grafana_foundation_sdk.models import dashboard as md
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from .bounds import bound
from .sections import panel_path

TAG = "comentarios"
DATASOURCE = mc.DataSourceRef(type_val="prometheus", uid="${datasource}")
AnyPanel = timeseries.Panel | stat.Panel
# Widths and a graph's height in Grafana's grid, which is 24 wide.
FULL, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
GRAPH = 8
# The same thing has the same colour on every dashboard. Series by name; all others take Grafana's palette.
COLOURS = {
    "2xx": "green",
    "3xx": "blue",
    "4xx": "orange",
    "5xx": "red",
    "50 %": "green",
    "95 %": "yellow",
    "99 %": "orange",
    "firing": "red",
    "pending": "orange",
    "limit": "red",
    "failed": "red",
    "bad": "red",
    "some wait": "orange",
    "all wait": "red",
    "api": "blue",
    "edge": "purple",
    "node": "light-orange",
    "node-exporter": "light-orange",
    "alertmanager": "light-yellow",
    "prometheus": "light-red",
    "grafana": "light-purple",
    **{f"availability {window}": "blue" for window in ("1h", "6h", "1d", "3d")},
    **{f"latency {window}": "purple" for window in ("1h", "6h", "1d", "3d")},
}
NEUTRAL = "text"
# Each host has its own Prometheus, whose series have no host. If another one collects from several hosts, they have
# this label. Every query selects it and every sum keeps it, so that no host hides another one that fails.
HOST = 'host=~"$host"'
# 0 instead of no series, for each host with the API, if nothing was counted yet.
OR_ZERO = f'or sum by (host) (up{{job="api", {HOST}}}) * 0'
# A replica by its release and the end of its address (prometheus.yml creates that label).
REPLICA = "{{version}} {{replica}}"


def by_replica(expr: str) -> str:
    """Gives the series of replicas the labels that REPLICA shows."""
    return f'{expr} * on (host, instance) group_left (version) comments_api_build_info{{job="api", {HOST}}}'


@dataclass(frozen=True)
class Query:
    """A query: PromQL and the name of each of its series (`{{label}}` is filled in, and the host follows it).

    `names` are the expected names if a label provides them, so that the legend has space for them. `now` asks for the
    newest value only: a sum over days would be slow for each point of a line.
    """

    expr: str
    legend: str
    names: tuple[str, ...] = ()
    now: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        return self.names or (self.legend,)


@dataclass(frozen=True)
class Limits:
    """Where a value stops being green. `red < amber` means that low values are bad. `alert` fires at red."""

    amber: float | None
    red: float | None
    alert: str = ""

    @classmethod
    def of(cls, alert: str, amber: float | None = None, inverted: bool = False) -> "Limits":
        """Red from the alert's own bound on; `inverted` if the panel shows the used share, the alert the free one."""
        return cls(amber, round(1 - bound(alert), 6) if inverted else bound(alert), alert)

    def steps(self) -> d.ThresholdsConfig:
        bounds = [at for at in (self.amber, self.red) if at is not None]
        colours = ["green", *(colour for at, colour in ((self.amber, "orange"), (self.red, "red")) if at is not None)]
        if bounds != sorted(bounds):
            bounds.reverse()
            colours.reverse()
        starts = [None, *bounds]
        steps = [md.Threshold(value=bound, color=colour) for bound, colour in zip(starts, colours, strict=True)]
        return d.ThresholdsConfig().mode(md.ThresholdsMode.ABSOLUTE).steps(steps)


NONE = Limits(None, None)


@dataclass(frozen=True)
class Word:
    """A word, with its colour, in place of a number."""

    text: str
    colour: str = NEUTRAL


def _newest(mode: mc.BigValueTextMode, graph: bool) -> stat.Panel:
    """A panel with the newest value, or the series' name, and its line in the background."""
    return (
        stat.Panel()
        .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(mc.BigValueColorMode.VALUE)
        .graph_mode(mc.BigValueGraphMode.AREA if graph else mc.BigValueGraphMode.NONE)
        .text_mode(mode)
    )


class Board:
    """Builds a dashboard. Panels fill rows from left to right and get their ids in that order.

    `uid` is also the file's name and never changes, since links and alerts use it.
    """

    def __init__(self, uid: str, title: str, description: str, span: str = "now-3h", queried: bool = True):
        self.uid = uid
        # The names in each graph's legend, for the test of the layout.
        self.names: dict[str, tuple[str, ...]] = {}
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
        if queried:
            self._board.with_variable(
                d.DatasourceVariable("datasource")
                .label("Data source")
                .type("prometheus")
                .current(md.VariableOption(selected=True, text="Prometheus", value="prometheus"))
            )
            self.choice("host", "Host", "up", "host")
            self._annotate()

    def choice(self, name: str, label: str, metric: str, by: str) -> None:
        """A variable `$name` with the values of label `by` of `metric`; by default, all of them."""
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

    def _annotate(self) -> None:
        """Events as lines through every graph. Backups, four an hour, are off by default."""
        switched = "comentarios_release_timestamp_seconds"
        backup = f"comentarios_backup_last_success_timestamp_seconds{{{HOST}}}"
        firing = f'ALERTS{{alertstate="firing", alertname!="Watchdog", {HOST}}}'
        for name, expr, title, colour in (
            ("Releases", f'{switched}{{kind!="rollback", {HOST}}} * 1000', "Release {{version}} {{host}}", "blue"),
            ("Rollbacks", f'{switched}{{kind="rollback", {HOST}}} * 1000', "Back to {{version}} {{host}}", "orange"),
            ("Backups", f"{backup} * 1000", "Backup {{host}}", "green"),
            ("Alerts", firing, "{{alertname}} {{host}}", "red"),
        ):
            query = d.AnnotationQuery().name(name).datasource(DATASOURCE).icon_color(colour).expr(expr)
            query.title_format(title).step("60s").placement(None).enable(name != "Backups")  # type: ignore[arg-type]
            if name != "Alerts":
                # The values of the others are times, in milliseconds since 1970.
                query.use_value_for_time(True)
            self._board.annotation(query)

    def row(self, title: str, good: str) -> None:
        """A heading, and a line that describes the healthy state."""
        self._board.with_row(d.Row(title).id(self._next_id()))
        self.text("", f"*Good:* {good}", 2)

    def text(self, title: str, content: str, height: int) -> None:
        """Markdown over the whole width."""
        panel = text.Panel().id(self._next_id()).title(title).transparent(not title).span(FULL).height(height)
        self._board.with_panel(panel.mode(TextMode.MARKDOWN).content(content))

    def graph(
        self,
        title: str,
        description: str,
        unit: str,
        *queries: Query,
        limits: Limits = NONE,
        width: int = HALF,
        top: float | None = None,
        stacked: bool = False,
        link: str = "",
        alerts: tuple[str, ...] = (),
    ) -> None:
        """Lines over time from 0 (to `top`), with a dashed line at each limit."""
        names = tuple(name for query in queries for name in query.series)
        # A few short names fit below the graph. More get a column of their own.
        right = len(names) > 4 or max(map(len, names)) > 20
        self.names[title] = names
        panel = (
            timeseries.Panel()
            .min(0)
            .line_width(1)
            .fill_opacity(30 if stacked else 5)
            .show_points(mc.VisibilityMode.NEVER)
            .legend(
                c.VizLegendOptions()
                .show_legend(True)
                .display_mode(mc.LegendDisplayMode.LIST)
                .placement(mc.LegendPlacement.RIGHT if right else mc.LegendPlacement.BOTTOM)
                .calcs([])
            )
            .tooltip(c.VizTooltipOptions().mode(mc.TooltipDisplayMode.MULTI).sort(mc.SortOrder.DESCENDING))
        )
        for name in names:
            if colour := COLOURS.get(name):
                value = {"mode": "fixed", "fixedColor": colour}
                # With several hosts, the host's name follows.
                panel.override_by_regexp(rf"/^{name}( \S*)?$/", [md.DynamicConfigValue("color", value)])
        if stacked:
            panel.stacking(c.StackingConfig().mode(mc.StackingMode.NORMAL))
        if limits.red is not None:
            panel.thresholds_style(c.GraphThresholdsStyleConfig().mode(mc.GraphThresholdsStyleMode.DASHED))
        if top is not None:
            panel.max(top)
        self._add(panel, title, description, unit, queries, limits, width, GRAPH, None, link, alerts)

    def number(
        self,
        title: str,
        description: str,
        unit: str,
        query: Query,
        limits: Limits = NONE,
        width: int = SIXTH,
        height: int = 4,
        name_only: bool = False,
        empty: Word | None = None,
        words: dict[int, Word] | None = None,
        decimals: int | None = None,
        link: str = "",
        alerts: tuple[str, ...] = (),
    ) -> None:
        """The newest value, coloured by its limits; with `name_only` the series' names, with `words` one of them."""
        plain = name_only or bool(words) or query.now
        panel = _newest(mc.BigValueTextMode.NAME if name_only else mc.BigValueTextMode.AUTO, graph=not plain)
        if decimals is not None:
            panel.decimals(decimals)
        self._add(panel, title, description, unit, [query], limits, width, height, empty, link, alerts, words)

    def firing(self, title: str, matchers: str, width: int, height: int = 4, link: str = "") -> None:
        """The names of the alerts that fire, or "No alert"."""
        none = 'label_replace(vector(0), "alertname", "All is well", "", "")'
        panel = _newest(mc.BigValueTextMode.VALUE_AND_NAME, graph=False)
        query = Query(
            f'max by (host, alertname) (ALERTS{{alertstate="firing", {matchers}, {HOST}}}) or on () {none}',
            "{{alertname}}",
        )
        words = {0: Word("No alert", "green"), 1: Word("firing", "red")}
        about = "The alerts that fire now. The dashboard Runbook has a section on each."
        self._add(panel, title, about, "none", [query], Limits(None, 1), width, height, None, link, (), words)

    def build(self) -> md.Dashboard:
        return self._board.build()

    def _add(
        self,
        panel: AnyPanel,
        title: str,
        description: str,
        unit: str,
        queries: Sequence[Query],
        limits: Limits,
        width: int,
        height: int,
        empty: Word | None,
        link: str,
        alerts: tuple[str, ...],
        words: dict[int, Word] | None = None,
    ) -> None:
        links = [(f"Dashboard {link}", f"/d/{link}")] if link else []
        alerts = (limits.alert, *alerts) if limits.alert else alerts
        links += [(f"Runbook: {alert}", f"/{panel_path(alert)}") for alert in alerts]
        panel.id(self._next_id()).title(title).description(description).unit(unit)
        panel.links([d.DashboardLink(name).type(md.DashboardLinkType.LINK).url(url) for name, url in links])
        panel.datasource(DATASOURCE).span(width).height(height).thresholds(limits.steps())
        mappings: list[md.ValueMapping] = []
        if words:
            results = {
                str(value): md.ValueMappingResult(text=word.text, color=word.colour, index=index)
                for index, (value, word) in enumerate(words.items())
            }
            mappings.append(md.ValueMap(options=results))
        if empty is not None:
            # Without the mapping's colour, it would be the lowest threshold's: red if low values are bad.
            panel.no_value(empty.text)
            nothing = md.ValueMappingResult(text=empty.text, color=empty.colour, index=len(words or {}))
            special = md.DashboardSpecialValueMapOptions(match=md.SpecialValueMatch.NULL_AND_NAN, result=nothing)
            mappings.append(md.SpecialValueMap(options=special))
        if mappings:
            panel.mappings(mappings)
        for letter, query in zip("ABCDEFGH", queries, strict=False):
            target = (
                prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(f"{query.legend} {{{{host}}}}")
            )
            target.datasource(DATASOURCE).format(PromQueryFormat.TIME_SERIES)
            target = target.instant() if query.now else target.range()
            panel.with_target(target)
        self._board.with_panel(panel)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
