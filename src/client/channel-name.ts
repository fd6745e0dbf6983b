/**
 * Makes the name of a channel from its pattern and the values of its placeholders. docs/protocol.md
 * has the rules.
 */
import { SnoClientError } from './error.ts';
import type { NameOf } from './typed/names.ts';

/** A value as Postgres prints it: text, an integer, a boolean. */
export type ChannelValue = string | number | bigint | boolean;

/**
 * `channelName('project:{project_id}', { project_id: 42 })` is `project:42`. Bytes of a value
 * outside `A-Za-z0-9_.~-` are percent-encoded. Throws `channel_name_invalid` if a value is missing,
 * or if it is not certain how Postgres prints it.
 */
export function channelName<const Pattern extends string>(
  pattern: Pattern,
  values: Readonly<Record<string, ChannelValue>>,
): NameOf<Pattern> {
  const name = pattern.replace(/\{([^{}]*)\}/g, (_, column: string) => {
    const value = Object.hasOwn(values, column) ? values[column] : undefined;
    const text = typeof value === 'number' && !Number.isSafeInteger(value) ? undefined : textOf(value);
    if (text === undefined)
      throw new SnoClientError(
        'channel_name_invalid',
        `${pattern} needs ${column} as text, a whole number or a boolean, not ${String(value)}.`,
      );
    return encode(text);
  });
  return name as NameOf<Pattern>;
}

function textOf(value: unknown): string | undefined {
  const isText = typeof value === 'string' && !/[\0\p{Surrogate}]/u.test(value);
  return isText || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
    ? String(value)
    : undefined;
}

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
