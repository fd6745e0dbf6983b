/**
 * Types of channels by their names. `Channels` is what `sno types` writes: for each pattern its
 * row, its key and the values of its placeholders.
 */

/** The names of a pattern's channels: `project:${string}` for `project:{project_id}`. */
export type NameOf<Pattern> = Pattern extends `${infer Before}{${string}}${infer After}`
  ? `${Before}${string}${NameOf<After>}`
  : Pattern;

/** The separators of values in a name. No value contains one. */
type Separator = ':' | '/';

/** Whether a name matches the pattern: `true`, or `never`. */
type IsOf<Name, Pattern> = Pattern extends `${infer Before}{${string}}${infer After}`
  ? Name extends `${Before}${infer Rest}`
    ? IsValueThen<Rest, After>
    : never
  : Name extends Pattern
    ? true
    : never;

/** Whether the text is a value followed by the rest of a pattern: `true`, or `never`. */
type IsValueThen<Text, After> = After extends ''
  ? Text extends `${string}${Separator}${string}`
    ? never
    : true
  : After extends `${infer Next}${infer More}`
    ? Text extends `${infer Value}${Next}${infer Rest}`
      ? Value extends `${string}${Separator}${string}`
        ? never
        : IsOf<`${Next}${Rest}`, `${Next}${More}`>
      : never
    : never;

/** The patterns that a channel of this name may match. */
type PatternOf<Channels, Name> = {
  [Pattern in keyof Channels]: true extends IsOf<Name, Pattern> ? Pattern : never;
}[keyof Channels];

/** The names of all channels. */
export type ChannelNames<Channels> = NameOf<keyof Channels & string> & string;

/** The row of the channel with this name. */
export type RowOf<Channels, Name extends string> = Channels[PatternOf<Channels, Name>] extends {
  readonly row: infer Row;
}
  ? Row
  : never;

/** The key of the channel with this name. */
export type KeyOf<Channels, Name extends string> = Channels[PatternOf<Channels, Name>] extends {
  readonly key: infer Key;
}
  ? Key
  : never;

/** The values for `channelName` of a pattern. */
export type ValuesOf<Channels, Pattern extends keyof Channels> = Channels[Pattern] extends {
  readonly values: infer Values;
}
  ? Values
  : never;
