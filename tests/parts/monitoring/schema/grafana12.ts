// What Grafana 12 takes, and nothing else: a field that it does not know is an error.
import type { Dashboard as Frame, DataSourceRef, Panel, RowPanel } from '@grafana/schema';
import type { Options as Stat } from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts';
import type { Options as Text } from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen.d.ts';
import type {
  FieldConfig,
  Options as Lines,
} from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts';
import type { Json } from './json';

// Prometheus' own part, which the published kinds leave to the plugin: see its query editor's types.
interface Query {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  format: 'time_series';
  instant: boolean;
  range: boolean;
  legendFormat: string;
}
interface Annotation {
  expr: string;
  step: string;
  titleFormat: string;
  useValueForTime?: boolean;
}
// `definition` is Prometheus', too; the others are an interval's, which the SDK writes for every variable.
interface Variable {
  definition?: string;
  auto?: boolean;
  auto_count?: number;
  auto_min?: string;
}
type Of<Options, Custom> = Omit<Panel, 'options' | 'fieldConfig' | 'targets'> & {
  options: Options;
  fieldConfig?: Omit<NonNullable<Panel['fieldConfig']>, 'defaults'> & {
    defaults: Omit<NonNullable<Panel['fieldConfig']>['defaults'], 'custom'> & { custom?: Custom };
  };
  targets?: Query[];
};
// What Grafana fills in is left out, by the SDK, too.
type Filled = 'justifyMode' | 'percentChangeColorMode' | 'showPercentChange' | 'wideLayout' | 'orientation';
type List<Key extends 'annotations' | 'templating'> = NonNullable<NonNullable<Frame[Key]>['list']>[number];

export type timeseries = Json<Of<Omit<Lines, 'timezone'>, FieldConfig>>;
export type stat = Json<Of<Omit<Stat, Filled> & Partial<Pick<Stat, Filled & keyof Stat>>, never>>;
export type text = Json<Of<Text, never>>;
export type row = Json<RowPanel>;
export type Dashboard = Json<
  Omit<Frame, 'panels' | 'annotations' | 'templating'> & {
    annotations: { list?: (List<'annotations'> & Annotation)[] };
    templating: { list?: (List<'templating'> & Variable)[] };
  }
>;
