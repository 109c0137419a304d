// A dashboard as Grafana's own types describe it (@grafana/schema), as strictly as they can be for a
// JSON text: enumerations as their words, the options of each kind of panel, nothing unknown.
// tests/e2e/test_deploy.py gives the dashboard this type and has tsc look.
import type { Dashboard, DataQuery, Panel, RowPanel } from "@grafana/schema";
import type * as Heatmap
  from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as Stat
  from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as Series
  from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Words<T> = T extends string ? `${T}`
  : T extends (infer Each)[] ? Words<Each>[]
    : T extends object ? { [Key in keyof T]: Words<T[Key]> } : T;
/** Grafana puts in what is missing of a panel's options. */
type Some<T> = T extends object ? { [Key in keyof T]?: Some<T[Key]> } : T;

interface Query extends DataQuery {
  expr: string;
  legendFormat: string;
  format?: "time_series" | "table" | "heatmap";
}

type Fields<Custom> = {
  defaults: Omit<Words<NonNullable<Panel["fieldConfig"]>["defaults"]>, "custom">
    & { custom?: Words<Custom> };
  overrides: [];
};

type PanelOf<Type, Options, Custom> =
  Omit<Words<Panel>, "type" | "options" | "targets" | "fieldConfig">
  & { type: Type; options: Some<Words<Options>>; targets: Query[]; fieldConfig: Fields<Custom> };

export type Board = Omit<Words<Dashboard>, "panels"> & {
  panels: (PanelOf<"stat", Stat.Options, object>
    | PanelOf<"heatmap", Heatmap.Options, Heatmap.FieldConfig>
    | PanelOf<"timeseries", Series.Options, Series.FieldConfig>
    | Words<RowPanel>)[];
};
