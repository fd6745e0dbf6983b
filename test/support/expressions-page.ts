/** docs/expressions.md, made of the compiler's own tables. */
import { LEFT_TO_POSTGRES } from '../../src/channels/left-to-postgres.ts';
import { ExpressionReader } from '../../src/channels/read-expression.ts';
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

A channel view may compute whatever depends on nothing but the row. \`sno check\` tells of each channel which of two paths it takes:

- **in process**: every expression of the view is in the tables below. Snö computes them from the text of the row's columns as the WAL
  brings it, without a question to Postgres, and gives to the byte what Postgres 15 to 18 give: \`test/channels/expressions.pg.test.ts\`
  compares random expressions over random rows with them.
- **by Postgres**: some expression is not. Postgres evaluates the view over the rows of a commit, all of them in one round trip. No answer differs; events
  come later by that round trip.

A view that can change without a commit to its table (\`now()\`, casts of text to dates and times, which know \`today\`, volatile functions, user-defined
stable functions, subqueries) takes no path: it is refused. Where evaluating a row is an error, such as a division by zero, a query of the view fails as well: the channels of
that view are reset, and the log says why.

## In process

In a database of another encoding than UTF8 nothing is. Types go by their names in \`pg_type\`: int4 is integer, float8 double precision, bpchar
character(n), bool boolean. A domain counts as its base type. \`anyarray\` is an array of any of these types.

| forms |
|---|
${forms.map(({ is }) => `| ${cell(is)} |`).join('\n')}

Comparisons are exact over bool, int2, int4, int8, numeric, float4, float8, uuid, bytea, date, time, timestamp, timestamptz and enums; over text,
varchar and bpchar for equality, and for order where the collation is C; over jsonb and arrays for equality.

${routines.join('\n\n')}

\`text ||\` takes, and is taken by, any of the types that have a cast to text below.

### Casts

| from | to |
|---|---|
${castRows(casts).join('\n')}

Also \`numeric(precision, scale)\`, \`varchar(n)\` and \`char(n)\`; of arrays, \`varchar[]\` to \`text[]\`. numeric to float4 for constants only.

## By Postgres

Everything else. Of what might be looked for above:

| | why |
|---|---|
${left.join('\n')}
`;
}

/** Routines of one name in one row, with the operands that they take; those with another remark in a row of their own. */
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
