/**
 * Whether a channel's values are values of their columns, written as the cast to text writes them: `room:01` is no channel
 * where the column is an integer, since 1 prints as `1` and no row would ever name that channel.
 */

/**
 * Texts that surely are canonical values of a type, so that Postgres needn't be asked. Everything that is not certain is
 * asked: a type that is not here, and an integer near the ends of its range.
 */
const CERTAIN: Readonly<Record<string, RegExp>> = {
  text: /^[^\0]*$/,
  'character varying': /^[^\0]*$/,
  smallint: /^(0|-?[1-9]\d{0,3})$/,
  integer: /^(0|-?[1-9]\d{0,8})$/,
  bigint: /^(0|-?[1-9]\d{0,17})$/,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  boolean: /^(true|false)$/,
};

/** Whether every value surely is canonical. */
export function surelyCanonical(values: readonly string[], types: readonly string[]): boolean {
  return values.every((value, index) => CERTAIN[types[index] ?? '']?.test(value) ?? false);
}

/**
 * A SELECT of one boolean, `$1`... being the values: whether each casts to its type and back to itself. A value that
 * does not cast at all fails it with an error of class 22.
 */
export function canonicalSql(types: readonly string[]): string {
  const tests = types.map((type, index) => {
    const text = `$${index + 1}::text`;
    return `(${text}::${type})::text collate "C" = ${text} collate "C"`;
  });
  return `select ${tests.length === 0 ? 'true' : tests.join(' and ')}`;
}
