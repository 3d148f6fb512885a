// A type as JSON writes it: a literal in an enum's place.
export type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}` ? N : never
    : T extends (infer One)[]
      ? readonly Json<One>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

// Grafana fills in what a file leaves out, or has as null.
export type Given<T> = T extends readonly (infer One)[] ? readonly Given<One>[] : T extends object ? { [Key in keyof T]?: Given<T[Key]> | null } : T;
