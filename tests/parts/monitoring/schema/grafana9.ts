// What Grafana 9 reads: it leaves out what it does not know, and fills in what is missing; all else has to be of its kind.
import type {
  Dashboard as Frame,
  GraphFieldConfig,
  Panel,
  RangeMap,
  RegexMap,
  RowPanel,
  SingleStatBaseOptions,
  SpecialValueMatch,
  ValueMap,
  ValueMappingResult,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  VizLegendOptions,
  VizTooltipOptions,
} from '@grafana/schema-9';
import type { Given, Json } from './json';

// The published kind of a special value has two of the six that SpecialValueMatch has.
type Special = { type: 'special'; options: { match: SpecialValueMatch; result: ValueMappingResult } };
type Mapping = ValueMap | RangeMap | RegexMap | Special;
type Of<Options, Custom = object> = Given<Json<Omit<Panel, 'options' | 'fieldConfig'> & {
  options: Options;
  fieldConfig?: Omit<Panel['fieldConfig'], 'defaults'> & {
    defaults: Omit<Panel['fieldConfig']['defaults'], 'custom' | 'mappings'> & { custom: Custom; mappings: Mapping[] };
  };
}>>;

export type timeseries = Of<{ legend: VizLegendOptions; tooltip: VizTooltipOptions }, GraphFieldConfig>;
export type stat = Of<
  SingleStatBaseOptions & { colorMode: BigValueColorMode; graphMode: BigValueGraphMode; textMode: BigValueTextMode }
>;
export type text = Of<{ mode: 'html' | 'markdown' | 'code'; content: string }>;
export type row = Given<Json<RowPanel>>;
export type Dashboard = Given<Json<Omit<Frame, 'panels'>>>;
