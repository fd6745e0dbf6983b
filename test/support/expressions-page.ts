/** Writes docs/expressions.md from the compiler's own tables. */
import { LEFT_TO_POSTGRES } from '../../src/channels/compiler/expressions/left-to-postgres.ts';
import { ExpressionReader } from '../../src/channels/compiler/expressions/read-expression.ts';
import { ROUTINE_TABLES } from '../../src/channels/routines/known.ts';
import type { RoutineTable } from '../../src/channels/routines/routine.ts';

export function expressionsPage(writtenBy: string): string {
  const forms = [...Object.values(ExpressionReader.conditions), ...Object.values(ExpressionReader.values)];
  const { Casts: casts = {}, ...tables } = ROUTINE_TABLES;
  const routines = Object.entries(tables).map(
    ([title, table]) => `### ${title}\n\n| | over | which |\n|---|---|---|\n${routineRows(table).join('\n')}`,
  );
  const left = LEFT_TO_POSTGRES.map(
    ({ names, what, why }) => `| ${cell(what ?? names.map((name) => `\`${name}\``).join(', '))} | ${why} |`,
  );
  return `# Expressions

${writtenBy}

A channel view may compute anything that depends only on the row. \`sno check\` says for each channel which of two
paths it takes:

- **in process**: every expression of the view is in the tables below. Snö computes them without asking Postgres,
  from the text of the row's columns as the WAL brings it. Its answers equal those of Postgres 15 to 18 to the byte.
  \`test/channels/expressions.pg.test.ts\` compares random expressions over random rows with Postgres.
- **by Postgres**: the view has an expression that is not in the tables. Postgres evaluates the view over the rows of a
  commit, all in one round trip. The answers are the same; the events arrive later by that round trip.

Snö refuses a view that can change without a commit to its table. Such a view has \`now()\`, a cast of text to a date
or time (the text may be \`today\`), a volatile function, a user-defined stable function, or a subquery other
than [\`EXISTS\` and \`IN\`](channels.md#subqueries).

If evaluating a row raises an error, such as a division by zero, a query of the view fails as well. Snö then resets the
channels of that view, and the log says why. It does the same where \`@>\` reads jsonb that nests more than 500 levels
deep.

## In process

In a database with another encoding than UTF8, Snö computes nothing in process. Types have their names in \`pg_type\`:
int4 is integer, float8 is double precision, bpchar is character(n), bool is boolean. A domain counts as its base type.
\`anyarray\` is an array of any of these types.

| forms |
|---|
${forms.map(({ is }) => `| ${cell(is)} |`).join('\n')}

Snö compares these types in process:

- bool, int2, int4, int8, numeric, float4, float8, uuid, bytea, date, time, timestamp, timestamptz and enums: equality
  and order;
- text, varchar and bpchar: equality, and order if the collation is C;
- jsonb and arrays: equality.

${routines.join('\n\n')}

\`text ||\` also accepts, on either side, any type that has a cast to text below.

### Casts

| from | to |
|---|---|
${castRows(casts).join('\n')}

Snö also casts to \`numeric(precision, scale)\`, \`varchar(n)\` and \`char(n)\`, and the array \`varchar[]\` to \`text[]\`.
It casts numeric to float4 for constants only.

## By Postgres

Postgres evaluates everything else. The table lists what you might look for above:

| | why |
|---|---|
${left.join('\n')}
`;
}

/**
 * One row for the routines of one name, with their operands. Routines with another remark get their
 * own row.
 */
function routineRows(table: RoutineTable): string[] {
  const rows = new Map<string, { readonly name: string; readonly over: string[]; readonly where: string }>();
  for (const [signature, entry] of Object.entries(table)) {
    const { name, over } = partsOf(signature);
    const where = typeof entry === 'function' ? '' : (entry.where ?? '');
    const row = rows.get(`${name} ${where}`) ?? { name, over: [], where };
    rows.set(`${name} ${where}`, row);
    row.over.push(over);
  }
  return [...rows.values()].map(
    ({ name, over, where }) =>
      `| \`${cell(name)}\` | ${over.map((each) => `\`${cell(each)}\``).join(', ')} | ${where} |`,
  );
}

function partsOf(signature: string): { readonly name: string; readonly over: string } {
  const [call = ''] = signature.split(': ');
  const [, name, args] = /^(\w+)\((.*)\)$/.exec(call) ?? [];
  if (name !== undefined) return { name, over: `(${args})` };
  const parts = call.split(' ');
  return { name: parts.at(-2) as string, over: call };
}

function castRows(table: RoutineTable): string[] {
  const rows = new Map<string, string[]>();
  for (const signature of Object.keys(table)) {
    const [from = '', to = ''] = (signature.split(': ')[0] as string).split('::');
    rows.set(from, [...(rows.get(from) ?? []), to]);
  }
  return [...rows].map(([from, to]) => `| ${from} | ${to.filter((each) => each !== from).join(', ')} |`);
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
